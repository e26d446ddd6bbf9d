"""CUB-200, Stanford Online Products, In-Shop and Cars-196."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published_files import (
    CAR_NAMES,
    annotations,
    classes,
    load,
    make_cars,
    make_cars_devkit,
    make_cars_folders,
    make_cub,
    make_inshop,
    make_sop,
    quiet,
    refused,
    sizes,
    source,
)
from scipy.io import savemat

from mlbench.contracts import GALLERY, QUERY


def test_cub_divides_at_class_100(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    data = load("cub200", tmp_path)
    assert classes(data, "test") == ["101.Bird_101", "102.Bird_102", "200.Bird_200"]
    held_in = sorted(classes(data, "train") + classes(data, "calibration"))
    assert held_in == [f"{number:03}.Bird_{number}" for number in (1, 2, 3, 99, 100)]
    assert sizes(data) == [(3, 9), (2, 6), (3, 9)]
    assert data.notes[0] == "2 of the 5 published training classes become the calibration split"
    expected = Image.open(tmp_path / "cub200/CUB_200_2011/images/101.Bird_101/Bird_101_0000_16.jpg").convert(
        "RGB"
    )
    assert data.split("test").image(0).tobytes() == expected.tobytes()
    assert {data.split("test").role(index) for index in range(9)} == {QUERY | GALLERY}


def test_cub_may_be_named_by_its_own_folder(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    inner = load("cub200", tmp_path, path="cub200/CUB_200_2011")
    assert inner.version == load("cub200", tmp_path).version


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("images.txt", "1 a.jpg\nx\n", "images.txt:2: expected a number and a value, found 'x'"),
        ("image_class_labels.txt", "1 1\n", "image 2 of images.txt has no class"),
        ("classes.txt", "1 one\n", "has no class"),
    ],
)
def test_cub_lists_that_are_damaged_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    make_cub(tmp_path / "cub200")
    (tmp_path / "cub200/CUB_200_2011" / file).write_text(text)
    assert message in refused("cub200", tmp_path)
    assert source("cub200", tmp_path).check(quiet).problems == (refused("cub200", tmp_path),)


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    (tmp_path / "cub200/CUB_200_2011/images.txt").write_bytes(b"\xff\xfe\x00")
    assert refused("cub200", tmp_path).endswith("images.txt: not a text file in UTF-8; get it again")


def test_sop_takes_the_published_halves(tmp_path: Path) -> None:
    make_sop(tmp_path / "sop")
    data = load("sop", tmp_path)
    assert classes(data, "test") == [f"bicycle/{number}" for number in range(11319, 11324)]
    assert sizes(data) == [(3, 6), (2, 4), (5, 10)]
    file = tmp_path / "sop/Stanford_Online_Products/Ebay_test.txt"
    file.write_text("image_id class_id super_class_id path\n1 2 3\n")
    assert refused("sop", tmp_path).endswith("Ebay_test.txt:2: expected 4 values, found '1 2 3'")
    file.write_text("")
    assert "Ebay_test.txt:1: expected the heading 'image_id class_id" in refused("sop", tmp_path)


@pytest.mark.parametrize("official", [False, True])
def test_inshop_queries_ask_and_gallery_is_found(tmp_path: Path, official: bool) -> None:
    make_inshop(tmp_path / "inshop", official=official)
    data = load("inshop", tmp_path)
    test = data.split("test")
    assert sizes(data) == [(3, 12), (2, 8), (3, 12)]
    roles = {test.paths[index].decode().rpartition("/")[2][:2]: test.role(index) for index in range(12)}
    assert roles == {"00": QUERY, "01": GALLERY, "02": GALLERY, "03": QUERY}
    assert {data.split("calibration").role(index) for index in range(8)} == {QUERY | GALLERY}
    parts = source("inshop", tmp_path).check(quiet).parts
    assert [part[:3] for part in parts] == [("train", 5, 20), ("query", 3, 6), ("gallery", 3, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("32\n", "33\n", 1), ":1: the file states '33' images and lists 32"),
        (lambda text: text.replace("image_name", "name"), ":2: expected the heading 'image_name"),
        (lambda text: text.replace(" query", " asks", 1), "expected an image, an item and a part"),
        (lambda text: "", ":2: expected the heading"),
    ],
)
def test_inshop_lists_that_are_damaged_are_named(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    make_inshop(tmp_path / "inshop")
    file = tmp_path / "inshop/list_eval_partition.txt"
    file.write_text(change(file.read_text()))
    assert message in refused("inshop", tmp_path)


@pytest.mark.parametrize("make", [make_cars, make_cars_devkit, make_cars_folders])
def test_cars_divide_at_class_98_in_every_form(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "cars196")
    data = load("cars196", tmp_path)
    assert classes(data, "test") == ["099 Make 99", "150 Make 150", "196 Make 196"]
    held_in = sorted(classes(data, "train") + classes(data, "calibration"))
    assert held_in == ["001 Make 1", "002 Make 2", "003 Ram C/V Van 2012", "004 Make 4", "098 Make 98"]
    assert sizes(data) == [(3, 9), (2, 6), (3, 9)]
    test = data.split("test")
    number = {test.class_name(test.label(i))[:3] for i in range(9) if b"099" in test.paths[i]}
    assert number == {"099"}


def test_cars_annotations_that_will_not_do_are_named(tmp_path: Path) -> None:
    make_cars(tmp_path / "cars196")
    file = tmp_path / "cars196/cars_annos.mat"
    whole = file.read_bytes()
    for content, message in (
        (b"no matlab file at all, only text" * 20, "not a MATLAB file ("),
        (whole[: len(whole) // 3], "not a MATLAB file ("),
    ):
        file.write_bytes(content)
        assert message in refused("cars196", tmp_path)
    savemat(file, {"other": 1})
    assert refused("cars196", tmp_path).endswith("no list 'annotations'; get the annotations again")
    rows = [{"relative_im_path": "a", "bbox": 1}, {"relative_im_path": "b", "bbox": 1}]
    savemat(file, {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)})
    assert "the test annotations without labels cannot be used" in refused("cars196", tmp_path)
    rows = [{"relative_im_path": "a", "class": 197}, {"relative_im_path": "b", "class": 1}]
    savemat(file, {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)})
    assert refused("cars196", tmp_path).endswith("class 197 in the annotations; expected 1 to 196")


def test_cars_table_of_the_copy_is_read_strictly(tmp_path: Path) -> None:
    make_cars_folders(tmp_path / "cars196")
    (tmp_path / "cars196/anno_test.csv").write_text("a.jpg,1,2,3,4\n")
    message = "anno_test.csv:1: expected a file, a box of 4 and a class, found 'a.jpg,1,2,3,4'"
    assert refused("cars196", tmp_path).endswith(message)

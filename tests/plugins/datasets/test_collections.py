"""Every published data set by name, from small copies in the real formats."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emoji_files import write_emoji
from PIL import Image
from scipy.io import savemat

import mlbench_datasets
from mlbench.contracts import GALLERY, QUERY, Dataset, DataSource, Split
from mlbench.errors import DataError
from mlbench.registry import Registry
from mlbench_datasets.collections import cars196, cifar100, cub200, emoji, inshop, sop
from mlbench_datasets.collections.source import Archive, Source

SPLITS = ("train", "calibration", "test")
NAMES = ("cars196", "cifar100", "cub200", "emoji", "inshop", "sop")
CAR_NAMES = [f"Make {number}" for number in range(1, 197)]
CAR_NAMES[2] = "Ram C/V Van 2012"
CAR_CLASSES = (1, 2, 3, 4, 98, 99, 150, 196)


def save(file: Path, size: tuple[int, int] = (12, 8)) -> None:
    """A small image whose content depends on its name and its folder's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(
        hashlib.blake2b(f"{file.parent.name}/{file.name}".encode(), digest_size=4).digest(), "big"
    )
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def make_cub(folder: Path) -> None:
    numbers = (1, 2, 3, 99, 100, 101, 102, 200)
    images, classes = [], []
    for number in numbers:
        for view in range(3):
            image = len(images) + 1
            path = f"{number:03}.Bird_{number}/Bird_{number}_{view:04}_{image}.jpg"
            images.append(f"{image} {path}")
            classes.append(f"{image} {number}")
            save(folder / "CUB_200_2011" / "images" / path)
    base = folder / "CUB_200_2011"
    (base / "images.txt").write_text("\n".join(images) + "\n")
    (base / "image_class_labels.txt").write_text("\n".join(classes) + "\n")
    names = [f"{number} {number:03}.Bird_{number}" for number in range(1, 201)]
    (base / "classes.txt").write_text("\n".join(names) + "\n")


def make_sop(folder: Path) -> None:
    base = folder / "Stanford_Online_Products"
    image = 0
    for name, first in (("Ebay_train.txt", 1), ("Ebay_test.txt", 11319)):
        lines = ["image_id class_id super_class_id path"]
        for number in range(first, first + 5):
            for view in range(2):
                image += 1
                path = f"bicycle_final/{number}_{view}.JPG"
                lines.append(f"{image} {number} 1 {path}")
                save(base / path)
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("\n".join(lines) + "\n")


def make_inshop(folder: Path, *, official: bool = False) -> None:
    rows = []
    for item in range(1, 9):
        for view, part in enumerate(("train",) * 4 if item < 6 else ("query", "gallery", "gallery", "query")):
            path = f"img/WOMEN/Dresses/id_{item:08}/{view:02}_1_front.jpg"
            rows.append(f"{path}    id_{item:08} {part}")
            save(folder / ("Img" if official else ".") / path)
    rows.reverse()
    file = folder / ("Eval/" if official else "") / "list_eval_partition.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([str(len(rows)), "image_name item_id evaluation_status", *rows]) + "\n")


def annotations(rows: list[dict[str, Any]]) -> np.ndarray:
    kinds = [(name, object) for name in rows[0]]
    return np.array([tuple(row.values()) for row in rows], dtype=kinds)


def cars() -> list[tuple[int, str]]:
    return [(number, f"{number:03}{view}.jpg") for view in range(3) for number in CAR_CLASSES]


def make_cars(folder: Path) -> None:
    rows = []
    for number, name in cars():
        save(folder / "car_ims" / name)
        path = f"car_ims/{name}"
        rows.append({"relative_im_path": path, "bbox_x1": 1, "class": number, "test": number % 2})
    content = {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)}
    savemat(folder / "cars_annos.mat", content)


def make_cars_devkit(folder: Path) -> None:
    (folder / "devkit").mkdir(parents=True)
    for half, place in enumerate(("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")):
        images = ("cars_train", "cars_test")[half]
        chosen = cars()[half::2]
        for _, name in chosen:
            save(folder / images / name)
        rows = [{"bbox_x1": 1, "class": number, "fname": name} for number, name in chosen]
        savemat(folder / place, {"annotations": annotations(rows)})
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(CAR_NAMES, object)})


def make_cars_folders(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "names.csv").write_text("\n".join(CAR_NAMES) + "\n")
    for half, part in enumerate(("train", "test")):
        lines = []
        for number, name in cars()[half::2]:
            place = folder / "car_data/car_data" / part / CAR_NAMES[number - 1].replace("/", "-")
            save(place / name)
            lines.append(f"{name},1,2,3,4,{number}")
        (folder / f"anno_{part}.csv").write_text("\n".join(lines) + "\n")


def make_cifar(folder: Path, *, images: int = 6) -> None:
    base = folder / "cifar-100-binary"
    base.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train.bin", images), ("test.bin", 2)):
        fine = np.tile(np.arange(100, dtype=np.uint8), count)
        pixels = generator.integers(0, 256, (len(fine), 3072), dtype=np.uint8)
        np.concatenate([(fine // 5)[:, None], fine[:, None], pixels], axis=1).tofile(base / name)
    (base / "fine_label_names.txt").write_text("\n".join(f"thing {i:02}" for i in range(100)) + "\n\n")


MAKERS: dict[str, Callable[[Path], None]] = {
    "cars196": make_cars,
    "cifar100": make_cifar,
    "cub200": make_cub,
    "emoji": write_emoji,
    "inshop": make_inshop,
    "sop": make_sop,
}


def load(name: str, root: Path, **options: Any) -> Any:
    """The data set as a suite would have it."""
    registry = Registry((plugin(),))
    entry = registry.get("dataset", name)
    return entry.build(entry.check(options), data_root=root, image_size=32)


def plugin() -> Any:
    from mlbench.plugins import Plugin

    return Plugin("datasets", "", "mlbench", "1", tuple(mlbench_datasets.mlbench_components()))


def source(name: str, root: Path) -> Source:
    found = Registry((plugin(),)).get("dataset", name).source(root)
    assert isinstance(found, Source)
    return found


def quiet(what: str, done: int, total: int) -> None:
    pass


def classes(data: Any, split: str) -> list[str]:
    part = data.split(split)
    return [part.class_name(label) for label in range(part.num_classes)]


def sizes(data: Any) -> list[tuple[int, int]]:
    return [(data.split(name).num_classes, len(data.split(name))) for name in SPLITS]


def refused(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, root)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize("name", NAMES)
def test_every_collection_keeps_the_contract(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    data = load(name, tmp_path)
    assert isinstance(data, Dataset)
    held = set(classes(data, "train")) | set(classes(data, "calibration"))
    assert data.disjoint == (held.isdisjoint(classes(data, "test")))
    assert data.disjoint == (name != "cifar100")
    for part in SPLITS:
        split = pickle.loads(pickle.dumps(data.split(part)))
        assert isinstance(split, Split)
        labels = [split.label(index) for index in range(len(split))]
        assert sorted(set(labels)) == list(range(split.num_classes))
        assert split.num_classes >= 2
        assert all(split.role(index) in (QUERY, GALLERY, QUERY | GALLERY) for index in range(len(split)))
        assert split.image(0).mode == "RGB"
        assert split.image(0).tobytes() == data.split(part).image(0).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_calibration_is_chosen_by_the_seed_from_training_alone(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    one, same, *others = (load(name, tmp_path, seed=seed, calibration=0.4) for seed in (0, 0, 1, 2))
    other = next(each for each in others if each.version != one.version)
    assert one.version == same.version

    def seen(data: Any, part: str) -> list[bytes]:
        split = data.split(part)
        return [split.image(index).tobytes() for index in range(len(split))]

    assert seen(one, "calibration") == seen(same, "calibration") != seen(other, "calibration")
    assert seen(one, "test") == seen(other, "test")
    assert sorted(seen(one, "train") + seen(one, "calibration")) == sorted(
        seen(other, "train") + seen(other, "calibration")
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_collection_says_what_to_put_where(tmp_path: Path, name: str) -> None:
    line = refused(name, tmp_path)
    found = source(name, tmp_path)
    assert line.startswith(f"{tmp_path / name}: files of {name} are missing (")
    for part in (
        found.home,
        found.licence,
        found.instructions,
        f"mlbench data fetch {name} --root {tmp_path}",
    ):
        assert part in line
    assert found.state() == "missing"
    assert found.check(quiet).problems == (line,)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_the_users_own_is_asked_to_be_filled(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name, tmp_path, path="elsewhere")
    assert str(tmp_path / "elsewhere") in str(caught.value)
    assert "mlbench data fetch" not in str(caught.value)
    MAKERS[name](tmp_path / "elsewhere")
    assert len(load(name, tmp_path, path="elsewhere").split("test"))


@pytest.mark.parametrize("name", NAMES)
def test_check_counts_what_is_there(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    found = source(name, tmp_path)
    assert isinstance(found, DataSource)
    assert found.state() == "ready"
    checked = found.check(quiet)
    assert [part.part for part in checked.parts] == [
        problem.partition(":")[0] for problem in checked.problems
    ]
    assert all(part.images > 0 < part.classes for part in checked.parts)
    assert list(load(name, tmp_path).notes[1:]) == list(checked.problems)
    assert "published: " in checked.problems[0]


@pytest.mark.parametrize("name", ["cars196", "cub200", "emoji", "inshop", "sop"])
def test_missing_and_damaged_images_are_named(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    images = sorted(path for path in (tmp_path / name).rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    images[0].unlink()
    images[3].write_bytes(b"damaged")
    first, second = (path.relative_to(tmp_path / name).as_posix() for path in (images[0], images[3]))
    line = refused(name, tmp_path)
    assert re.search(r": 2 of \d+ images are missing or cannot be read: ", line)
    problem = source(name, tmp_path).check(quiet).problems[0]
    for text in (line, problem):
        assert f"{first} (No such file or directory)" in text
        assert f"{second} (not an image)" in text


@pytest.mark.parametrize("name", NAMES)
def test_state_tells_a_part_from_the_whole(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path / name)
    found = source(name, tmp_path)
    layout = found.layout()
    assert layout is not None
    gone = tmp_path / name / layout[0]
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert found.state() == "incomplete"
    assert layout[0] in refused(name, tmp_path)


def test_cub_divides_at_class_100(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    data = load("cub200", tmp_path)
    assert classes(data, "test") == ["101.Bird_101", "102.Bird_102", "200.Bird_200"]
    held_in = sorted(classes(data, "train") + classes(data, "calibration"))
    assert held_in == [f"{number:03}.Bird_{number}" for number in (1, 2, 3, 99, 100)]
    assert sizes(data) == [(3, 9), (2, 6), (3, 9)]
    assert data.notes[0] == "2 of the 5 published training classes are held out for calibration"
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
        (lambda text: text.replace("32\n", "33\n", 1), ":1: '33' images are announced, 32 are listed"),
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
    assert refused("cars196", tmp_path).endswith("no list 'annotations' in it; get the annotations again")
    rows = [{"relative_im_path": "a", "bbox": 1}, {"relative_im_path": "b", "bbox": 1}]
    savemat(file, {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)})
    assert "the test annotations without labels will not do" in refused("cars196", tmp_path)
    rows = [{"relative_im_path": "a", "class": 197}, {"relative_im_path": "b", "class": 1}]
    savemat(file, {"annotations": annotations(rows), "class_names": np.array(CAR_NAMES, object)})
    assert refused("cars196", tmp_path).endswith("class 197 in the annotations; expected 1 to 196")


def test_cars_say_that_matlab_files_need_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cars(tmp_path / "cars196")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert refused("cars196", tmp_path).endswith("MATLAB files need scipy; pip install 'mlbench[matlab]'")
    shutil.rmtree(tmp_path / "cars196")
    make_cars_folders(tmp_path / "cars196")
    assert sizes(load("cars196", tmp_path))[2] == (3, 9)


def test_cars_table_of_the_copy_is_read_strictly(tmp_path: Path) -> None:
    make_cars_folders(tmp_path / "cars196")
    (tmp_path / "cars196/anno_test.csv").write_text("a.jpg,1,2,3,4\n")
    message = "anno_test.csv:1: expected a file, a box of 4 and a class, found 'a.jpg,1,2,3,4'"
    assert refused("cars196", tmp_path).endswith(message)


def test_cifar_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    make_cifar(tmp_path / "cifar100")
    data = load("cifar100", tmp_path)
    assert sizes(data) == [(100, 400), (100, 200), (100, 200)]
    assert not data.disjoint
    records = np.fromfile(tmp_path / "cifar100/cifar-100-binary/test.bin", np.uint8).reshape(-1, 3074)
    test = data.split("test")
    for index in (0, 5, 199):
        planes = records[index, 2:].reshape(3, 32, 32)
        image = np.asarray(test.image(index))
        assert image.shape == (32, 32, 3)
        assert all(np.array_equal(image[:, :, colour], planes[colour]) for colour in range(3))
        assert test.class_name(test.label(index)) == f"thing {records[index, 1]:02}"
    held = data.split("calibration")
    assert np.bincount(held.labels).tolist() == [2] * 100
    assert np.bincount(data.split("train").labels).tolist() == [4] * 100
    assert set(held.position).isdisjoint(data.split("train").position)
    assert data.notes[0] == "200 published training images are held out for calibration"


def test_cifar_disjoint_tests_on_other_classes(tmp_path: Path) -> None:
    make_cifar(tmp_path / "cifar100")
    data = load("cifar100", tmp_path, split="disjoint")
    assert data.disjoint
    assert sizes(data) == [(45, 45 * 8), (5, 5 * 8), (50, 50 * 8)]
    assert classes(data, "test") == [f"thing {i:02}" for i in range(50, 100)]
    test = data.split("test")
    records = np.fromfile(tmp_path / "cifar100/cifar-100-binary/test.bin", np.uint8).reshape(-1, 3074)
    index = len(test) - 1  # of the second file
    expected = records[-1, 2:].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(test.image(index)), expected)


def test_cifar_version_changes_with_the_pixels(tmp_path: Path) -> None:
    make_cifar(tmp_path / "cifar100")
    before = load("cifar100", tmp_path).version
    file = tmp_path / "cifar100/cifar-100-binary/test.bin"
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    assert load("cifar100", tmp_path).version != before


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train.bin", lambda data: data[:-1], "1,844,399 bytes are not a number of records of 3074"),
        ("test.bin", lambda data: b"", "test.bin: 0 bytes are not a number"),
        ("test.bin", lambda data: data[:1] + b"\x64" + data[2:], "class 100; expected 0 to 99"),
        ("fine_label_names.txt", lambda data: b"apple\n", "expected 100 different names of classes, found 1"),
        (
            "train.bin",
            lambda data: data[: 3074 * 300],
            "class 0 has 3 training images; at least 4 are needed",
        ),
    ],
)
def test_cifar_files_that_are_damaged_are_named(
    tmp_path: Path, file: str, change: Callable[[bytes], bytes], message: str
) -> None:
    make_cifar(tmp_path / "cifar100")
    place = tmp_path / "cifar100/cifar-100-binary" / file
    place.write_bytes(change(place.read_bytes()))
    assert message in refused("cifar100", tmp_path)


def test_cifar_images_whose_file_shrinks_are_an_error(tmp_path: Path) -> None:
    make_cifar(tmp_path / "cifar100")
    test = load("cifar100", tmp_path).split("test")
    file = tmp_path / "cifar100/cifar-100-binary/test.bin"
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"test\.bin: is shorter than it was; start again"):
        test.image(1)
    file.unlink()
    with pytest.raises(DataError, match=r"test\.bin: No such file or directory"):
        test.image(0)


def test_emoji_leave_flags_out_of_the_second_half(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji", count=21, flags=3)
    data = load("emoji", tmp_path)
    # The halves are of all 21; the one that a vendor lacks is in neither.
    assert classes(data, "test") == [f"1f{number:03} face-{number}" for number in range(10, 18)]
    held_in = sorted(classes(data, "train") + classes(data, "calibration"))
    assert held_in == [f"1f{number:03} face-{number}" for number in range(10)]
    assert sizes(data) == [(8, 32), (2, 8), (8, 32)]
    test = data.split("test")
    assert [test.label(index) for index in range(8)] == [0] * 4 + [1] * 4
    vendors = [test.paths[index].decode().split("/")[3] for index in range(4)]
    assert vendors == ["apple", "google", "twitter", "facebook"]
    image = test.image(0)
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((32, 32)) == (10, 100, 200)


def test_emoji_of_another_release_are_refused(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji")
    file = tmp_path / "emoji/node_modules/emoji-datasource-google/package.json"
    file.write_text('{"version": "15.1.2"}')
    line = refused("emoji", tmp_path)
    assert line.startswith(f"{file}: version 15.1.2; the splits rest on 16.0.0; run: npm install ")
    for content, message in (("[]", "version None"), ("{", "not JSON; install the package again")):
        file.write_text(content)
        assert message in refused("emoji", tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{}", "no emoji that all vendors have drawn"),
        ("[]", "no emoji that all vendors have drawn"),
        ('[{"image": 1}]', "expected emoji with image, short_name, category, sort_order"),
        ("[1]", "expected emoji with image"),
    ],
)
def test_emoji_tables_that_are_damaged_are_named(tmp_path: Path, table: str, message: str) -> None:
    write_emoji(tmp_path / "emoji")
    (tmp_path / "emoji/node_modules/emoji-datasource-apple/emoji.json").write_text(table)
    assert message in refused("emoji", tmp_path)


def test_too_few_classes_to_hold_any_out_are_an_error(tmp_path: Path) -> None:
    write_emoji(tmp_path / "emoji", count=7, flags=0)
    message = "training classes with two images or more: 3; at least 4 are needed"
    assert refused("emoji", tmp_path).endswith(message)


# What is fetched.


def archive_of(kind: str, folder: Path, file: Path) -> bytes:
    """The folder as a .zip or .tar.gz, then removed; its content."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            for path in paths:
                zipped.write(path, path.relative_to(folder))
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for path in paths:
                tar.add(path, path.relative_to(folder))
    shutil.rmtree(folder)
    file.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def with_archive(found: Source, file: Path, *, md5: str) -> Source:
    """The source, its archives that can be downloaded taken from `file`."""
    from dataclasses import replace

    archives = tuple(
        Archive(each.file, each.gives, file.as_uri(), md5) if each.address else each
        for each in found.archives
    )
    return replace(found, archives=archives, size=1000)


@pytest.mark.parametrize(
    ("name", "kind", "make"),
    [
        ("cub200", "tar", make_cub),
        ("sop", "zip", make_sop),
        ("cifar100", "tar", make_cifar),
        ("cars196", "zip", make_cars_folders),
    ],
)
def test_fetch_downloads_unpacks_and_tidies_up(
    tmp_path: Path, name: str, kind: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    before = load(name, tmp_path).version
    content = archive_of(kind, tmp_path / name, tmp_path / "there")
    found = with_archive(source(name, tmp_path), tmp_path / "there", md5=hashlib.md5(content).hexdigest())
    said: list[str] = []
    found.fetch(lambda what, done, total: said.append(what))
    assert found.state() == "ready"
    assert load(name, tmp_path).version == before
    assert [path.name for path in (tmp_path / name).iterdir() if path.suffix in (".tgz", ".zip", ".gz")] == []
    assert not [path for path in (tmp_path / name).iterdir() if path.name.startswith(".")]
    assert [each.partition(" ")[0] for each in dict.fromkeys(said)] == ["downloading", "unpacking"]


def test_fetch_leaves_nothing_of_an_archive_with_another_digest(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    archive_of("tar", tmp_path / "cub200", tmp_path / "there")
    found = with_archive(source("cub200", tmp_path), tmp_path / "there", md5="0" * 32)
    with pytest.raises(DataError, match=f"has the MD5 digest .* expected {'0' * 32}"):
        found.fetch(quiet)
    assert list((tmp_path / "cub200").iterdir()) == []


def test_fetch_unpacks_an_archive_that_a_person_has_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "inshop"
    make_inshop(folder)
    listing = (folder / "list_eval_partition.txt").read_text()
    (folder / "list_eval_partition.txt").unlink()
    archive_of("zip", folder, tmp_path / "there")
    found = source("inshop", tmp_path)
    folder.mkdir()
    (tmp_path / "there").rename(folder / "img.zip")
    with pytest.raises(DataError, match=r"files of inshop are missing \(Eval/list_eval_partition.txt"):
        found.fetch(quiet)
    assert found.state() == "incomplete"
    (folder / "list_eval_partition.txt").write_text(listing)
    found.fetch(quiet)
    assert found.state() == "ready"
    assert (folder / "img.zip").exists()
    assert sizes(load("inshop", tmp_path))[2] == (3, 12)


def test_fetch_verifies_an_archive_that_a_person_has_put_there(tmp_path: Path) -> None:
    (tmp_path / "cars196").mkdir()
    (tmp_path / "cars196/car_ims.tgz").write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"car_ims\.tgz has the MD5 digest .* get it again"):
        source("cars196", tmp_path).fetch(quiet)
    assert (tmp_path / "cars196/car_ims.tgz").exists()


def test_fetch_asks_to_move_half_a_data_set_away(tmp_path: Path) -> None:
    make_cub(tmp_path / "cub200")
    (tmp_path / "cub200/CUB_200_2011/images.txt").unlink()
    with pytest.raises(DataError, match=r"move .*CUB_200_2011 away, which is not complete, and run: mlbench"):
        source("cub200", tmp_path).fetch(quiet)


def test_fetch_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1_000_000_000))
    message = r"about 6\.2 GB are needed for Stanford_Online_Products.zip and what is in it, 1\.0 GB are free"
    with pytest.raises(DataError, match=message):
        source("sop", tmp_path).fetch(quiet)


def fake_npm(folder: Path, body: str) -> None:
    folder.mkdir(exist_ok=True)
    script = folder / "npm"
    script.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    script.chmod(0o755)


def test_fetch_has_npm_install_the_emoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", f"open({str(tmp_path / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found, said = source("emoji", tmp_path), []
    with pytest.raises(DataError, match="files of emoji are missing"):  # this npm installs nothing
        found.fetch(lambda what, done, total: said.append(what))
    asked = (tmp_path / "asked").read_text()
    assert said == [f"running npm {asked}"]
    assert asked.startswith(f"install --ignore-scripts --no-save --prefix {tmp_path / 'emoji'} ")
    assert re.findall(r"emoji-datasource-(\w+)@16\.0\.0", asked) == ["apple", "google", "twitter", "facebook"]


def test_fetch_says_what_npm_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", "sys.exit('npm error code ENOTFOUND\\nnpm error network no')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError) as caught:
        source("emoji", tmp_path).fetch(quiet)
    start = "npm failed (npm error code ENOTFOUND; npm error network no); try it yourself: npm install "
    assert str(caught.value).startswith(start)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"^npm is not here; install Node.js, then run: npm install "):
        source("emoji", tmp_path).fetch(quiet)


def test_sources_are_told_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from mlbench.registry import Registry; from mlbench.plugins import Plugin\n"
        "import mlbench_datasets\n"
        "registry = Registry((Plugin('d', '', '', '', tuple(mlbench_datasets.mlbench_components())),))\n"
        "found = [each.source(Path('nowhere')) for each in registry]\n"
        "print([each.name for each in found if each])\n"
        "print({'torch', 'torchvision', 'timm', 'scipy', 'pandas'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == f"{sorted(NAMES)}\nset()\n"


def test_published_counts_are_those_of_the_literature() -> None:
    published = [each.PUBLISHED for each in (cub200, cars196, sop, inshop, cifar100, emoji)]
    totals = [sum(images for _, images in each.values()) for each in published]
    assert totals == [11_788, 16_185, 120_053, 52_712, 60_000, (928 + 660) * 4]

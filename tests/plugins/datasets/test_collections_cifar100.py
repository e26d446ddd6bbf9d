from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from published_files import (
    classes,
    load,
    make_cifar,
    refused,
    sizes,
)

from mlbench.errors import DataError


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
    assert data.notes[0] == "200 published training images become the calibration split"


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


def test_cifar_says_which_images_are_in_train_and_test(tmp_path: Path) -> None:
    make_cifar(tmp_path / "cifar100")
    base = tmp_path / "cifar100/cifar-100-binary"
    train, test = (np.fromfile(base / name, np.uint8).reshape(-1, 3074) for name in ("train.bin", "test.bin"))
    assert not any("the same image" in note for note in load("cifar100", tmp_path, split="disjoint").notes)
    test[77, 2:] = train[7, 2:]  # classes 77 and 7, of test and train in the disjoint split
    test.tofile(base / "test.bin")
    copies = [note for note in load("cifar100", tmp_path).notes if "the same image" in note]
    (place,) = {"train", "calibration"}.intersection(copies[0].split())
    assert copies == [f"the same image is in {place} and test: train.bin: image 7 and test.bin: image 77"]


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
        ("train.bin", lambda data: data[:-1], "1,844,399 bytes are not a whole number of records of 3074"),
        ("test.bin", lambda data: b"", "test.bin: 0 bytes are not a whole number"),
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
    with pytest.raises(DataError, match=r"test\.bin: shorter than before; start again"):
        test.image(1)
    file.unlink()
    with pytest.raises(DataError, match=r"test\.bin: No such file or directory"):
        test.image(0)

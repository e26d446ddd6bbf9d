from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mlbench.errors import DataError
from mlbench.images.class_folders import read_class_folders


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_classes_are_the_folders_at_a_level(tmp_path: Path) -> None:
    found = read_class_folders(touch(tmp_path, "a/b/1.jpg", "a/c/2.jpg", "a/c/3.jpg", "d/4.jpg", "5.jpg"))
    assert found.depth == 2
    assert found.classes(1) == {"a": 3, "d": 1}
    assert found.classes(2) == found.classes(3) == {"a/b": 1, "a/c": 2, "d": 1}
    assert found.place("5.jpg") == ("", [])


def test_levels_count_from_the_folders_of_splits(tmp_path: Path) -> None:
    found = read_class_folders(touch(tmp_path, "Train/a/b/1.jpg", "VAL/a/b/2.jpg", "test/c/3.jpg", "4.jpg"))
    assert found.splits == {"Train": "train", "VAL": "calibration", "test": "test"}
    assert found.classes(1) == {"a": 2, "c": 1}
    assert found.classes(2) == {"a/b": 2, "c": 1}
    assert found.place("Train/a/b/1.jpg") == ("Train", ["a", "b"])
    assert found.place("4.jpg") == ("", [])


def test_folders_beside_train_and_test_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "test/b/2.jpg", "notes/x/3.jpg", "docs/readme.txt", ".thumbs/4.jpg")
    found = read_class_folders(tmp_path)
    assert (list(found.splits), found.beside) == (["test", "train"], ("docs", "notes"))
    assert found.classes(1) == {"a": 1, "b": 1}
    assert found.empty(1) == []


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "val/b/2.jpg", "Validation/c/3.jpg", "test/d/4.jpg")
    message = r"several folders for the calibration split \(Validation, val\); keep one"
    with pytest.raises(DataError, match=message):
        read_class_folders(tmp_path)


def test_names_of_classes_have_one_unicode_form(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    found = read_class_folders(
        touch(tmp_path, f"train/{one}/1.jpg", f"test/{two}/2.jpg", f"test/{one}/3.jpg")
    )
    assert found.classes(1) == {one: 3}


def test_classes_may_have_names_of_splits(tmp_path: Path) -> None:
    found = read_class_folders(touch(tmp_path, "train/1.jpg", "test/2.jpg", "tram/3.jpg"))
    assert not found.splits
    assert sorted(found.classes(1)) == ["test", "train", "tram"]
    found = read_class_folders(touch(tmp_path / "toys", "train/a/1.jpg", "truck/b/2.jpg"))
    assert not found.splits


def test_empty_names_the_outermost_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.jpg", "a/c/none.txt", "d/e/f/none.txt")
    (tmp_path / "a" / "back").symlink_to("..")
    found = read_class_folders(tmp_path)
    assert found.empty(1) == ["d"]
    assert found.empty(2) == found.empty(3) == ["a/c", "d"]

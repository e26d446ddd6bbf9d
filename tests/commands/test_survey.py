from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlbench.commands.survey import survey
from mlbench.errors import DataError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_survey_shows_the_classes_of_one_level(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{number}.jpg" for name in "abcde" for number in range(4)), "e/4.jpg")
    found = survey(tmp_path)
    assert found.level == 1
    assert list(found.lines()) == [
        "level 1: 5 classes (a, b, c, and 2 more), images in each: 4 to 5 (median 4)"
    ]


def test_survey_chooses_the_leaves_and_says_how_to_choose_others(tmp_path: Path) -> None:
    touch(tmp_path, "fruit/apple/1.jpg", "fruit/pear/2.jpg", "milk/3.jpg")
    found = survey(tmp_path)
    assert found.level == 2
    assert list(found.lines()) == [
        "level 1: 2 classes (fruit, milk), images in each: 1 to 2 (median 1)",
        "level 2: 3 classes (fruit/apple, fruit/pear, milk), images in each: 1; chosen, where every class "
        "folder is a leaf",
        "for the classes of another level: --level N",
    ]
    coarse = survey(tmp_path, 1)
    assert coarse.level == 1
    assert next(coarse.lines()).endswith("(median 1); chosen")
    with pytest.raises(
        DataError, match=r"no class folders at level 3; the images lie at most 2 folders deep"
    ):
        survey(tmp_path, 3)


def test_survey_sees_splits_and_what_may_be_a_manifest(tmp_path: Path) -> None:
    found = survey(touch(tmp_path, "Train/a/1.jpg", "test/b/2.jpg", "notes/c/3.jpg", "photos.csv"))
    assert (found.level, found.divided) == (1, True)
    assert list(found.lines()) == [
        "level 1: 2 classes (a, b), images in each: 1",
        "not read: photos.csv; name such a file instead of the folder if it is a manifest",
    ]


def test_survey_takes_a_file_for_a_manifest(tmp_path: Path) -> None:
    file = touch(tmp_path, "photos.csv") / "photos.csv"
    assert survey(file).level is None
    assert list(survey(file).lines()) == []
    with pytest.raises(DataError, match="a file has no levels"):
        survey(file, 1)


def test_survey_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder; name the folder .*, or a manifest"):
        survey(tmp_path / "gone")
    with pytest.raises(DataError, match="not UTF-8"):
        survey(tmp_path / os.fsdecode(b"\xff"))

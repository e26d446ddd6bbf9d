from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mlbench.names import find_path, find_paths, one_form

ONE, TWO = (unicodedata.normalize(form, "Müller é") for form in ("NFC", "NFD"))


def test_forms_are_one_name() -> None:
    assert ONE != TWO
    assert one_form(ONE) == one_form(TWO) == ONE
    assert one_form("plain") == "plain"


@pytest.mark.parametrize(("there", "asked"), [(ONE, TWO), (TWO, ONE), (ONE, ONE)])
def test_paths_are_found_in_either_form(tmp_path: Path, there: str, asked: str) -> None:
    (tmp_path / there / "x" / there).mkdir(parents=True)
    found = find_path(tmp_path / asked / "x" / asked)
    assert found.samefile(tmp_path / there / "x" / there)
    assert list(find_paths(tmp_path, [f"{asked}/x", f"{asked}/gone ü", "plain"])) == [
        f"{there}/x",
        f"{asked}/gone ü",
        "plain",
    ]


def test_a_file_of_the_very_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / ONE).touch()
    (tmp_path / TWO).touch()
    assert list(find_paths(tmp_path, [ONE, TWO])) == [ONE, TWO]

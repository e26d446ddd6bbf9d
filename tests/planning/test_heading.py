from __future__ import annotations

from pathlib import Path

import pytest

from mlbench.errors import SuiteError
from mlbench.planning.heading import Heading, read_heading


def test_a_name_is_its_own_heading() -> None:
    assert read_heading("textimage") == Heading("textimage", "textimage")


def test_a_file_states_name_title_and_tolerances(tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("suite: s\ntitle: A question\nbase: {no: component, is: asked}\ntolerances: {f1: 0.02}\n")
    assert read_heading(str(path)) == Heading("s", "A question", path, {"f1": 0.02}, has_cases=True)
    path.write_text("suite: s\n")
    assert read_heading(str(path)) == Heading("s", "s", path, {})
    other = path.rename(tmp_path / "any.txt")
    assert read_heading(other).path == other


@pytest.mark.parametrize("text", ["[1]", "{f1: x}", "{f1: -1}", "{f1: true}"])
def test_tolerances_that_are_no_numbers_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"suite: s\ntolerances: {text}\n")
    with pytest.raises(SuiteError, match="expected numbers >= 0 by name"):
        read_heading(path)


@pytest.mark.parametrize("text", ["", "[1]", "title: x", "suite: 3", "suite: ''"])
def test_a_file_without_a_name_is_no_suite(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=r"s\.yaml: not a suite: it has no name"):
        read_heading(path)

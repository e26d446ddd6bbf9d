from __future__ import annotations

import pytest

from mlbench import errors
from mlbench.errors import MlbenchError, OptionError, StoreError, close_match, first_line, hint


def test_every_error_has_one_root_and_stands_in_the_tree() -> None:
    for name in errors.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(errors, name), MlbenchError)
            assert f" {name} " in f"{errors.__doc__} "


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("gpa", "did you mean 'gap'?"),
        ("GAP", "did you mean 'gap'?"),
        ("xyz", "choose from: flatten, gap"),
        ("", "choose from: flatten, gap"),
    ],
)
def test_hint_gives_the_nearest_name_or_all(word: str, expected: str) -> None:
    assert hint(word, ["gap", "flatten", "gap"]) == expected


def test_hint_stays_one_line_with_many_names_and_none() -> None:
    assert hint("q", [f"a{n}" for n in range(15)], show=2) == "choose from: a0, a1, and 13 more"
    assert hint("q", []) == "none is available"


def test_close_match_keeps_the_candidate_as_it_is_written() -> None:
    assert close_match("cosface", ["CosFace"]) == "CosFace"
    assert close_match("zzz", ["CosFace"]) == ""


def test_first_line_of_errors_with_many_lines_and_none() -> None:
    assert first_line(ValueError("a\nb")) == "ValueError: a"
    assert first_line(ValueError()) == "ValueError:"


def test_an_option_error_knows_its_option() -> None:
    assert OptionError("x", "dim").option == "dim"
    assert OptionError("x").option == ""


def test_the_text_of_an_error_is_one_line_without_control_characters() -> None:
    error = StoreError("a\nb\x1b[31m\u2028é: bad")
    assert str(error) == "a\\nb\\x1b[31m\\u2028é: bad"

from __future__ import annotations

import pytest

from mlbench.commands.prose import filled, formula_of, page_width

TEXT = """One sentence that is
in two lines.

    a = b + c
      + d

- a list
- of two"""


def test_paragraphs_are_filled_and_formulas_keep_their_lines() -> None:
    assert filled(TEXT, 40, "  ") == [
        "  One sentence that is in two lines.",
        "",
        "      a = b + c",
        "        + d",
        "",
        "  - a list",
        "  - of two",
    ]
    assert filled("a hyphen-ated word", 11) == ["a", "hyphen-ated", "word"]
    assert filled("", 40) == []


def test_the_formula_is_the_indented_part() -> None:
    assert formula_of(TEXT) == "a = b + c\n  + d"
    assert formula_of("none") == ""


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("72", 72), ("300", 100), ("9", 40), ("x", 80)])
def test_page_width_is_what_reads_well(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert page_width() == width

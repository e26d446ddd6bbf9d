from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from mlbench.table import Table, print_table

TABLE = Table(
    ("name", "what it is", "count"),
    [("gap", "mean over the map, then two linear layers", "1,234"), ("漢字", "[bold]x[/bold] :smile:", "7")],
    numbers=("count",),
)


def sent(
    monkeypatch: pytest.MonkeyPatch, table: Table, columns: int | None, wide: bool = False, **variables: str
) -> str:
    """The text on a terminal of this many columns, or in a file (None)."""
    stream = io.StringIO()
    stream.isatty = lambda: columns is not None  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", str(columns or 20))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_table(table, wide=wide)
    return stream.getvalue()


def printed(
    monkeypatch: pytest.MonkeyPatch, table: Table, columns: int | None, *, wide: bool = False
) -> list[str]:
    """The same in lines, without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", sent(monkeypatch, table, columns, wide)).splitlines()


def test_a_file_gets_a_line_a_row_without_colours_whatever_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, TABLE, None)
    assert lines == [
        "name  what it is                                 count",
        "──────────────────────────────────────────────────────",
        "gap   mean over the map, then two linear layers  1,234",
        "漢字  [bold]x[/bold] :smile:                         7",
    ]


def test_a_narrow_terminal_wraps_between_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, TABLE, 40)
    assert max(map(cell_len, lines)) <= 40
    assert (
        " ".join(" ".join(line[6:33].split()) for line in lines[2:4])
        == "mean over the map, then two linear layers"
    )
    words = set(re.findall(r"\S+", " ".join(lines)))
    assert {"1,234", "gap", "[bold]x[/bold]", ":smile:", "layers"} <= words


def test_no_word_is_ever_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    words = set(" ".join(printed(monkeypatch, TABLE, 10)).split())
    assert {"1,234", "count", "linear", "[bold]x[/bold]", "漢字"} <= words


def test_a_title_and_a_table_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, Table(("a", "b"), [], title="T"), None) == ["T", "a  b", "────"]


def test_columns_are_left_out_from_the_right_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table([f"c{n}" + "-" * 8 for n in range(9)], [["x"] * 9], keep=2)
    for columns, shown in ((200, 9), (58, 5), (57, 4), (10, 2)):
        assert printed(monkeypatch, table, columns)[0].split() == table.headings[:shown]
    assert printed(monkeypatch, table, 30, wide=True)[0].split() == table.headings
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "58")
    assert print_table(table) == table.headings[5:]
    monkeypatch.delenv("COLUMNS")
    assert print_table(replace(table, headings=[*table.headings, "y" * 20], rows=[["x"] * 10])) == ["y" * 20]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_plain_text_is_neither_coloured_nor_bold(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    table = Table(("a", "b"), [("1", "2")], title="T")
    assert "\x1b[1m" in sent(monkeypatch, table, 80)
    assert "\x1b" not in sent(monkeypatch, table, 80, **variables)

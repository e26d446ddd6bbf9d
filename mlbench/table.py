"""Tables of text: fitted to a terminal, and one line a row everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mlbench.console import open_console

__all__ = ["PAGE", "Table", "print_table"]

#: Width in characters of output that is no terminal, such as a log of CI.
PAGE = 120


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of text. numbers: headings of columns that are aligned right. keep: number of
    columns, from the left, that are always printed; the others are where there is room. None for all."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str] = ()
    title: str = ""
    keep: int | None = None


def print_table(table: Table, *, wide: bool = False) -> list[str]:
    """Print to stdout and return the headings of columns that were left out. wide: leave out none.

    On a narrow terminal cells wrap between words, and words are never cut. Where stdout is no terminal,
    columns beyond COLUMNS, else `PAGE` characters, are left out, and cells do not wrap.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    console = open_console()
    columns = os.environ.get("COLUMNS", "")
    page = console.width if console.is_terminal else int(columns) if columns.isdecimal() else PAGE
    fitting = table if wide else _fitting(table, page)
    left_out = list(table.headings[len(fitting.headings) :])
    table = fitting
    room = console.width if console.is_terminal else sys.maxsize
    widths = _widths(table, room - _GAP * (len(table.headings) - 1))
    console.width = max(console.width, sum(widths) + _GAP * len(widths))
    grid = RichTable(
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for heading, width in zip(table.headings, widths, strict=True):
        grid.add_column(heading, justify="right" if heading in table.numbers else "left", width=width)
    for row in table.rows:
        grid.add_row(*row)
    with console.capture() as capture:
        if table.title:  # not by rich's table, which wraps a title to its own width
            wrap = console.is_terminal
            console.print(table.title, style="bold", markup=False, highlight=False, soft_wrap=not wrap)
        console.print(grid)
    console.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    return left_out


#: Blank columns between two cells.
_GAP = 2


def _fitting(table: Table, room: int) -> Table:
    """The table without the last columns that do not fit into `room`, but with the first `keep` columns."""
    from rich.cells import cell_len

    columns = list(zip(table.headings, *table.rows, strict=True))
    keep = len(columns) if table.keep is None else table.keep
    used = -_GAP
    for count, column in enumerate(columns):
        used += _GAP + max(map(cell_len, column))
        if used > room and count >= keep:
            rows = [row[:count] for row in table.rows]
            return replace(table, headings=table.headings[:count], rows=rows)
    return table


def _widths(table: Table, room: int) -> list[int]:
    """Width of each column: that of its cells, the widest narrowed until all fit into `room`, none below its
    longest word."""
    from rich.cells import cell_len

    columns = list(zip(table.headings, *table.rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    least = [max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    while sum(widths) > room:
        slack = [(width, index) for index, width in enumerate(widths) if width > least[index]]
        if not slack:
            break
        widths[max(slack)[1]] -= 1
    return widths

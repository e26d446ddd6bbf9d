"""Docstrings as text for a terminal: paragraphs are filled, formulas keep their lines."""

from __future__ import annotations

import os
import sys
import textwrap

__all__ = ["filled", "formula_of", "page_width"]

#: Columns of a text where stdout is no terminal, and at most on a terminal.
_PAGE, _WIDEST = 80, 100


def page_width() -> int:
    """Columns for a text on stdout: those of the terminal, or COLUMNS, within what reads well."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() else _PAGE
    if not columns and sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    return max(40, min(width or _PAGE, _WIDEST))


def filled(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of a text, each paragraph filled to `width`. A paragraph with an indented line or a list keeps
    its lines."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        rows = paragraph.splitlines()
        if any(row[:1] in (" ", "-", "*") for row in rows):
            lines += [f"{indent}{row}".rstrip() for row in rows]
        else:
            # No break in a word: names of models and options have them.
            lines += textwrap.wrap(
                " ".join(rows),
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
        lines.append("")
    return lines[:-1]


def formula_of(documentation: str) -> str:
    """The indented paragraphs of a docstring, which by convention are its formula; "" without."""
    found = [each for each in documentation.split("\n\n") if each.startswith("    ")]
    return textwrap.dedent("\n\n".join(found))

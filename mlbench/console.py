"""Consoles: stdout and stderr, without colours where the user or the terminal asks for plain text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["open_console"]


def open_console(*, stderr: bool = False) -> Console:
    """A console that prints [x] and :x: as text. With NO_COLOR it prints neither colours nor bold text."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    return Console(
        stderr=stderr, markup=False, emoji=False, highlight=False, color_system=None if plain else "auto"
    )

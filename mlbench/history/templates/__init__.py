"""Templates of the pages of histories and comparisons."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["template"]


@cache
def template(name: str) -> str:
    """The text of a template."""
    return files(__name__).joinpath(f"{name}.html").read_text(encoding="utf-8")

"""The templates of the sections, files beside this one."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["template"]


@cache
def template(name: str) -> str:
    """The text of a template, by its name without the suffix."""
    return files("mlbench_sections").joinpath("html", f"{name}.html").read_text(encoding="utf-8")

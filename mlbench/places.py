"""Places in code at which an error arose, and whose code it is."""

from __future__ import annotations

from pathlib import Path
from traceback import walk_tb
from typing import NamedTuple

from mlbench.local_modules import file_of

__all__ = ["Place", "dotted", "place_in_package", "places"]


class Place(NamedTuple):
    """One call of a stack. module: dotted name, "" where not known. function: with its class. owner: the type
    of `self` in a method."""

    file: str
    line: int
    module: str = ""
    function: str = ""
    owner: type | None = None

    def __str__(self) -> str:
        """For a file to correct."""
        return f"{self.file}:{self.line}"

    @property
    def short(self) -> str:
        """For code that is running: "X.forward at x.py:12"."""
        return f"{self.function} at {Path(self.file).name}:{self.line}"


def places(error: BaseException) -> list[Place]:
    """Every call that the error passed through, the innermost first."""
    found = []
    for frame, line in walk_tb(error.__traceback__):
        code, module = frame.f_code, str(frame.f_globals.get("__name__", ""))
        owner = type(frame.f_locals["self"]) if "self" in frame.f_locals else None
        found.append(Place(code.co_filename, line, module, code.co_qualname, owner))
    return found[::-1]


def place_in_package(error: BaseException, module: str) -> Place | None:
    """Where in the code of a module or its top-level package an error arose: the innermost call, or the line
    of a syntax error. None where it arose elsewhere."""
    file = file_of(module)
    if isinstance(error, SyntaxError) and error.filename and (file is None or error.filename == str(file)):
        return Place(error.filename, error.lineno or 1)
    package = dotted(module)[0]
    return next((each for each in places(error) if dotted(each.module)[0] == package), None)


def dotted(module: str) -> list[str]:
    """The names of a dotted name. The module of a file that the user named is one: it has nothing in common
    with the core."""
    return [module] if file_of(module) is not None else module.split(".")

"""The component whose code raised an error, found by the error's traceback.

Nothing wraps the calls of a component, so naming it costs nothing where no error is raised.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlbench.errors import MlbenchError, PluginError, first_line
from mlbench.places import Place, dotted, places

if TYPE_CHECKING:
    from mlbench.planning.spec import Part

__all__ = ["EMBED_IS_NONE", "described", "named", "place_in", "raised_in", "stopped_in"]

#: What to do where a batch sampler needs the embeddings too early (see `BatchContext`).
EMBED_IS_NONE = (
    "embed of the BatchContext is None while a run is planned and checked; keep the context in build(), and "
    "call its embed() in batches()"
)


def raised_in(error: BaseException, parts: Iterable[Part]) -> str:
    """Where a component's code raised the error: "neck 'x' of plugin 'p' (package 1.0), X.forward at
    x.py:12"; the plugin alone where several of its components may have. "" where none has, and for memory
    that ran out, which is no component's mistake.
    """
    who, where = _owned(_places(error), parts)
    return f"{who}, {where}" if who else ""


def place_in(error: BaseException, part: Part) -> str:
    """Where the code of the part raised the error: "X.predict at x.py:12"; "" as `raised_in`."""
    return _owned(_places(error), [part])[1]


def stopped_in(found: Iterable[tuple[str, int, str]], parts: Iterable[Part]) -> str:
    """As `raised_in`, of code that was stopped in another process. found: file, line and function of every
    call, the innermost first."""
    files = {getattr(module, "__file__", None): name for name, module in list(sys.modules.items())}
    known = [Place(file, line, files.get(file, ""), function) for file, line, function in found]
    who, where = _owned(known, parts)
    return f"{who}, {where}" if who else ""


def described(error: BaseException, parts: Iterable[Part]) -> str:
    """An error that is not mlbench's in one line, with the component whose code raised it, if one has."""
    where = raised_in(error, parts)
    return f"{first_line(error)}; raised in {where}" if where else first_line(error)


def _places(error: BaseException) -> list[Place]:
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return [] if out_of_memory else places(error)


def _owned(found: Iterable[Place], parts: Iterable[Part]) -> tuple[str, str]:
    """Component and plugin, and place, of the first of the places that is code of one of the parts."""
    known = list({id(part): part for part in parts}.values())
    for place in found:
        if owners := _owners(place, known):
            one = owners[0]
            who = str(one) if len({str(each) for each in owners}) == 1 else one.plugin_text
            return who, place.short
    return "", ""


@contextmanager
def named(parts: Iterable[Part], missing: str = "") -> Iterator[None]:
    """An error of a component's code that is raised in the block becomes a PluginError that names it.

    missing: which argument is None in the block, and what to do, for a TypeError about None."""
    try:
        yield
    except MlbenchError:
        raise
    # Foreign code may raise anything.
    except Exception as error:
        parts = list(parts)
        if not raised_in(error, parts):
            raise
        about_none = isinstance(error, TypeError) and "NoneType" in str(error)
        more = f"; {missing}" if missing and about_none else ""
        raise PluginError(f"{described(error, parts)}{more}") from error


def _owners(place: Place, parts: list[Part]) -> list[Part]:
    """The parts that the code at a place may belong to: those with the most of its module's name in common,
    of one plugin; one of them where it is a method of its options or no other has its module."""
    module = dotted(place.module)
    shared = [(_shared(module, _module(part)), part) for part in parts]
    most = max((count for count, _ in shared), default=0)
    if not most:
        return []
    closest = [part for count, part in shared if count == most]
    if len({part.plugin_text for part in closest}) > 1:
        return []
    return [part for part in closest if place.owner is type(part.component)] or closest


def _module(part: Part) -> list[str]:
    return dotted(part.entry.component.options.partition(":")[0])


def _shared(one: list[str], other: list[str]) -> int:
    """Number of leading names that two dotted names have in common."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count

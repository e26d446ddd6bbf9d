"""The trackers of a run: the key `track` of a suite and --track of the command line, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlbench.errors import SuiteError, hint
from mlbench.planning.document import Document, parse_value
from mlbench.planning.spec import Part, located
from mlbench.registry import Registry

__all__ = ["TRACK_EXAMPLE", "chosen_trackers"]

#: How --track is written with options.
TRACK_EXAMPLE = "--track '{name: tensorboard, folder: runs}'"

#: In place of a name: without the trackers of the suite.
NONE = "none"


def chosen_trackers(document: Document, named: Sequence[str], registry: Registry) -> tuple[Part, ...]:
    """The trackers of a suite, then those that the command line names; one of these replaces the suite's of
    its name.

    named: names, or mappings of a name and options in YAML; `NONE` leaves those of the suite out. They are
    only checked, not built. Raises SuiteError, with the place, for anything but known trackers with valid
    options, each once.
    """
    written: Any = document.data.get("track") if isinstance(document.data, dict) else None
    items = written if isinstance(written, list) else [] if written is None else [written]
    of_suite: dict[str, Part] = {}
    for index, given in enumerate(items):
        key = ("track", index) if isinstance(written, list) else ("track",)

        def where(option: str, key: tuple[str | int, ...] = key) -> str:
            return document.where((*key, option) if option else key)

        _add(_tracker(given, where, registry), of_suite)
    of_command: dict[str, Part] = {}
    for text in (each for each in named if each != NONE):
        origin = f"--track {text}"

        def origin_of(option: str, origin: str = origin) -> str:
            return origin

        _add(_tracker(parse_value(text, origin), origin_of, registry), of_command)
    return tuple({**({} if NONE in named else of_suite), **of_command}.values())


def _add(part: Part, parts: dict[str, Part]) -> None:
    name = part.entry.component.name
    if name in parts:
        raise SuiteError(f"{part.where()}: the tracker {name!r} is there twice; leave one out")
    parts[name] = part


def _tracker(given: Any, where: Callable[[str], str], registry: Registry) -> Part:
    options = {"name": given} if isinstance(given, str) else given
    known = registry.names("tracker")
    if not isinstance(options, Mapping):
        raise SuiteError(
            f"{where('')}: expected the name of a tracker or a mapping of its name and options, such as "
            f"{{name: tensorboard, folder: runs}}, not {given!r}"
        )
    options = dict(options)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise SuiteError(f"{where('')}: which tracker? it has no name; {hint('', known)}")
    with located(where):
        entry = registry.get("tracker", name)
        return Part(entry, entry.check(options), where)

"""Search for components, and for what they offer by name, such as the models of a library."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbench.contracts import CatalogueItem
from mlbench.errors import ComponentError, first_few, first_line
from mlbench.planning.document import flow_text
from mlbench.planning.settings import COMPONENTS
from mlbench.table import Table

if TYPE_CHECKING:
    from mlbench.registry import Entry

__all__ = ["Match", "matches_table", "nearest", "search"]

#: Tags of weights in a cell of the table.
_TAGS = 2


class Match(NamedTuple):
    """One component, or one thing that a component offers by name. suite: how a suite chooses it, as YAML on
    one line. component: its name."""

    kind: str
    name: str
    suite: str
    summary: str
    component: str
    package: str
    parameters: int | None = None
    image_size: int | None = None
    weights: tuple[str, ...] = ()


def search(
    entries: Iterable[Entry], pattern: str, note: Callable[[str], None]
) -> tuple[list[Match], list[str]]:
    """What matches, components first, and every name that was searched.

    pattern: a glob such as "eff*", for a whole name or a word of a summary; without * and ?, a part of
    either. Letters of both cases are the same. note: is told which catalogue cannot be read."""
    pattern = pattern.casefold()
    found: list[Match] = []
    names: list[str] = []
    for entry in entries:
        for match in (_component(entry), *_offered(entry, note)):
            names.append(match.name)
            if _fits(pattern, match):
                found.append(match)
    return sorted(found, key=lambda match: match.name != match.component), names


def nearest(pattern: str, names: Sequence[str]) -> list[str]:
    """The names with the most similar spelling, the most similar first."""
    plain = {name.casefold(): name for name in names}
    word = pattern.casefold().strip("*?")
    return [plain[each] for each in difflib.get_close_matches(word, plain, n=3, cutoff=0.5)]


def matches_table(found: Sequence[Match]) -> Table:
    """What was found, each as a suite writes it."""
    rows = [
        (
            match.suite,
            "" if match.parameters is None else f"{match.parameters / 1e6:.1f}M",
            "" if match.image_size is None else str(match.image_size),
            first_few(match.weights, _TAGS),
            match.summary,
        )
        for match in found
    ]
    headings = ("in a suite", "parameters", "px", "pretrained", "what it is")
    used = [any(row[place] for row in rows) for place in range(len(headings))]
    kept = [place for place, each in enumerate(used) if each]
    return Table(
        [headings[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
        numbers=("parameters", "px"),
        keep=3 if used[1] else None,
    )


def _component(entry: Entry) -> Match:
    component = entry.component
    written = _in_a_suite(component.kind, component.name)
    return Match(
        component.kind, component.name, written, component.summary, component.name, entry.plugin.package
    )


def _offered(entry: Entry, note: Callable[[str], None]) -> Iterator[Match]:
    component, plugin = entry.component, entry.plugin
    try:
        items = list(entry.options_class.catalogue())
        if odd := [item for item in items if not isinstance(item, CatalogueItem)]:
            raise TypeError(f"it has {odd[0]!r}; expected a CatalogueItem")
    # A plugin may raise anything; the other components are still searched.
    except Exception as error:
        reason = str(error) if isinstance(error, ComponentError) else first_line(error)
        note(f"the catalogue of {entry} of {plugin.package} {plugin.version} cannot be read: {reason}")
        return
    for item in items:
        written = _in_a_suite(component.kind, {"name": component.name, **item.options})
        about = (item.summary, component.name, plugin.package)
        yield Match(
            component.kind, item.name, written, *about, item.parameters, item.image_size, item.weights
        )


def _in_a_suite(kind: str, value: Any) -> str:
    """A component, by its name or with options, as a suite's section."""
    if kind == "metric":
        return f"metrics: {flow_text([value])}"
    if kind == "claim":
        return f"claims: {flow_text({'ID': {'name': value}})}"
    if kind == "tracker":
        return f"track: {flow_text(value)}"
    if kind == "section":
        return "mlbench report"
    assert kind in COMPONENTS.values()
    return f"{kind}: {flow_text(value)}"


def _fits(pattern: str, match: Match) -> bool:
    name, summary = match.name.casefold(), match.summary.casefold()
    if not set("*?[") & set(pattern):
        return pattern in name or pattern in summary
    words = (word.strip(",.:;()") for word in summary.split())
    return fnmatchcase(name, pattern) or any(fnmatchcase(word, pattern) for word in words)

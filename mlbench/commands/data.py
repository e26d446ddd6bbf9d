"""Files of published data sets: list them with their state, fetch and check them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlbench.contracts import DataCheck, DataProgress, DataSource, PartCount
from mlbench.errors import DataError
from mlbench.registry import Registry
from mlbench.table import Table

__all__ = [
    "NamedSource",
    "check_json",
    "check_table",
    "fetch",
    "find_source",
    "sources",
    "sources_json",
    "sources_table",
]


class NamedSource(NamedTuple):
    """The name of a data set and the source of its files."""

    name: str
    source: DataSource


def sources(registry: Registry, data_root: Path) -> Iterator[NamedSource]:
    """Every data set with files to fetch, by name. data_root: base of relative folders."""
    for entry in registry:
        if entry.component.kind != "dataset":
            continue
        source = entry.options_class.source(data_root)
        if source is not None:
            yield NamedSource(entry.component.name, source)


def find_source(registry: Registry, data_root: Path, name: str) -> NamedSource:
    """The data set called `name`. Raises ComponentError for an unknown name, DataError for a data set without
    files to fetch."""
    source = registry.get("dataset", name).options_class.source(data_root)
    if source is None:
        known = ", ".join(each.name for each in sources(registry, data_root))
        raise DataError(f"the data set {name!r} has no files to fetch; these have: {known}")
    return NamedSource(name, source)


def fetch(named: NamedSource, progress: DataProgress) -> None:
    """Fetch the files, unless they are here. Raises DataError where that is not possible."""
    name, source = named
    if source.state() == "ready":
        return
    if source.fetch is None:
        raise DataError(f"{name} cannot be fetched: {source.instructions} (licence: {source.licence})")
    source.fetch(progress)


def sources_table(found: Sequence[NamedSource]) -> Table:
    """Data sets with their state, approximate download size and licence."""
    headings = ("data set", "state", "MB", "licence", "folder")
    rows = [
        (name, source.state(), f"{source.size / 1e6:,.0f}", source.licence, str(source.folder))
        for name, source in found
    ]
    return Table(headings, rows, numbers=("MB",))


def sources_json(found: Sequence[NamedSource]) -> str:
    """The data sets as JSON, with home pages and instructions."""
    return _dump(
        [
            {
                "name": name,
                "state": source.state(),
                "size": source.size,
                "licence": source.licence,
                "home": source.home,
                "folder": str(source.folder),
                "instructions": source.instructions,
            }
            for name, source in found
        ]
    )


def check_table(check: DataCheck) -> Table:
    """The parts of a data set with their counts, found and published."""
    numbers = ("classes", "published classes", "images", "published images")
    rows = [(part.part, *map(_count, _numbers(part))) for part in check.parts]
    return Table(("part", *numbers), rows, numbers=numbers)


def check_json(named: NamedSource, check: DataCheck) -> str:
    """The parts and the problems as JSON."""
    parts = [part._asdict() for part in check.parts]
    folder = str(named.source.folder)
    return _dump({"name": named.name, "folder": folder, "parts": parts, "problems": list(check.problems)})


def _numbers(part: PartCount) -> tuple[int | None, ...]:
    return part.classes, part.published_classes, part.images, part.published_images


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _dump(data: object) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)

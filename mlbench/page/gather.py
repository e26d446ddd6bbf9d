"""Gathering the findings of a page: which cases are shown in detail, their details, and their images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mlbench.contracts import Split
from mlbench.environment import find_device
from mlbench.errors import MlbenchError, StoreError, hint
from mlbench.evaluation.details import DETAILS, Details, read_details
from mlbench.page.findings import CaseFindings
from mlbench.planning.plan import make_plan
from mlbench.planning.selection import Selection
from mlbench.planning.suite import recorded_suite
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.registry import Registry

__all__ = ["DETAILED", "gather_findings"]

#: Cases that are shown in detail where none are chosen.
DETAILED = 20


def gather_findings(
    found: Selection,
    store: Store,
    order: Sequence[str],
    headline: str,
    pattern: str,
    registry: Registry,
    note: Callable[[str], None],
) -> tuple[dict[str, CaseFindings], str]:
    """The findings by case, the first case of `order` first, and a note on what is left out.

    order: cases, the best first. headline: the metric by which the median seed of a case is chosen. pattern:
    glob pattern of the cases to show, "" for the first `DETAILED`. note: takes one line on each file that
    cannot be read. Raises StoreError for a pattern that no case matches.
    """
    groups: dict[str, list[Record]] = {}
    for record in found.records:
        if record.status == "done":
            groups.setdefault(record.case, []).append(record)
    names = [name for name in order if name in groups and (not pattern or fnmatchcase(name, pattern))]
    if pattern and not names:
        raise StoreError(f"--case {pattern}: no case with results matches ({hint(pattern, groups)})")
    readers = _Readers(found, store, registry)
    result: dict[str, CaseFindings] = {}
    having = 0
    for name in names:
        record, path = _median(groups[name], headline, store, found.stored)
        if path is None:
            continue
        having += 1
        if len(result) >= DETAILED:
            continue
        try:
            details = read_details(path)
        except StoreError as error:
            note(str(error))
            continue
        if details is not None:
            splits, why = readers.splits(record, details)
            result[name] = CaseFindings(record, details, splits, why)
    text = ""
    if having > len(result):
        text = (
            f"Single images are shown of {len(result)} cases, the best ones; {having - len(result)} more "
            "have them: mlbench report --case GLOB shows others."
        )
    return result, text


def _median(
    records: Sequence[Record], headline: str, store: Store, stored: Mapping[str, str]
) -> tuple[Record, Path | None]:
    """Of the records of a case that have details, the one with the median of a metric, and their file."""
    paths = {
        record.key: store.checkpoints(stored.get(record.key, record.key)) / DETAILS for record in records
    }
    having = [record for record in records if paths[record.key].is_file()]
    if not having:
        return records[0], None
    values = {
        record.key: record.metrics[headline].value if headline in record.metrics else None
        for record in having
    }
    having.sort(key=lambda record: (values[record.key] is None, values[record.key] or 0.0, record.seed))
    chosen = having[(len(having) - 1) // 2]
    return chosen, paths[chosen.key]


class _Readers:
    """The splits of records, each data set built once."""

    def __init__(self, found: Selection, store: Store, registry: Registry) -> None:
        self._found = found
        self._store = store
        self._registry = registry
        self._known: dict[str, tuple[Any, str]] = {}

    def splits(self, record: Record, details: Details) -> tuple[dict[str, Split], str]:
        """The scored split and the gallery, by name, and "", or none and why not."""
        dataset, why = self._dataset(record)
        if dataset is None:
            return {}, why
        if str(dataset.version) != str(record.data.get("version")):
            return {}, (
                f"the images are not shown: the data set is version {dataset.version} now, and was "
                f"{record.data.get('version')}"
            )
        names: Any = dict.fromkeys((details.split, details.gallery))
        return {name: dataset.split(name) for name in names}, ""

    def _dataset(self, record: Record) -> tuple[Any, str]:
        plan = self._found.plan
        if plan is not None:
            for case in plan.cases:
                if (case.name, case.seed) == (record.case, record.seed):
                    return case.dataset, ""
        key = repr((record.settings.get("dataset"), record.settings.get("image")))
        if key not in self._known:
            self._known[key] = self._built(record)
        return self._known[key]

    def _built(self, record: Record) -> tuple[Any, str]:
        heading = self._found.heading
        where = str(self._store.folder / f"{record.key}.json")
        path = heading.path or Path(f"{heading.name}.yaml")
        try:
            suite = recorded_suite(
                heading.name, path, record.case, record.seed, record.settings, where, self._registry
            )
            return make_plan(suite, find_device("cpu")).cases[0].dataset, ""
        # The data set may be foreign code.
        except Exception as error:
            reason = str(error) if isinstance(error, MlbenchError) else f"{type(error).__name__}: {error}"
            return None, f"the images cannot be read: {reason}"

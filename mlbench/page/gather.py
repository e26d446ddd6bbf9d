"""Gathering the findings of a page: which cases are shown in detail, their details, and their images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mlbench.contracts import Split
from mlbench.errors import MlbenchError, StoreError, first_line, hint
from mlbench.evaluation.details import DETAILS, Details, read_details
from mlbench.page.findings import CaseFindings
from mlbench.planning.recorded import SuiteImages, check_version
from mlbench.planning.selection import Selection
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
    readers = _Readers(found, registry)
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
    if names and not having:
        text = "Single images are not shown: no record has details of its evaluation; run the cases again."
    elif having > len(result):
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
    """The splits of records, each data set built once: those of the plan, or else built again."""

    def __init__(self, found: Selection, registry: Registry) -> None:
        self._datasets = (
            {(case.name, case.seed): case.dataset for case in found.plan.cases} if found.plan else {}
        )
        self._heading = found.heading
        self._registry = registry
        self._built: SuiteImages | None = None

    def splits(self, record: Record, details: Details) -> tuple[dict[str, Split], str]:
        """The scored split and the gallery, by name, and "", or none and why not."""
        try:
            return self._read(record, details), ""
        # The data set may be foreign code; the page has the rest.
        except Exception as error:
            reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
            return {}, f"images are not shown: {reason}"

    def _read(self, record: Record, details: Details) -> dict[str, Split]:
        dataset = self._datasets.get((record.case, record.seed))
        if dataset is not None:
            check_version(record, dataset)
            names: Any = dict.fromkeys((details.split, details.gallery))
            return {name: dataset.split(name) for name in names}
        if self._built is None:
            self._built = SuiteImages(self._heading, self._registry)
        images = self._built.of(record)
        return {details.gallery: images.searched or images.scored, details.split: images.scored}

"""The record whose model is exported or embeds images: chosen by case, seed and width, and read back as a
suite of one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlbench.errors import StoreError, SuiteError, hint
from mlbench.planning.document import load_document
from mlbench.planning.heading import Heading
from mlbench.planning.request import PlanRequest
from mlbench.planning.selection import Selection, suite_records
from mlbench.planning.suite import Suite, recorded_suite
from mlbench.planning.suite_plugins import suite_registry
from mlbench.plugin_files import FILE_PACKAGE
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.records.widths import cut_record, widths_of
from mlbench.registry import Registry

__all__ = ["Choice", "ModelRequest", "choose", "choose_made", "fitted_distance"]


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """Which model to take. suite: its name, or its file, which is planned as `plan` says. seed: None for the
    finished one with the median threshold. results: folder of the records. width: of the case, to cut the
    embeddings to; None for all."""

    suite: str
    case: str
    plan: PlanRequest = field(default_factory=PlanRequest)
    seed: int | None = None
    results: Path = Path("results")
    width: int | None = None


@dataclass(frozen=True)
class Choice:
    """A finished record. record: at the width that was asked for, None for the whole one. suite: of its case
    and seed alone, in float32, as the CPU may lack the precision of training. checkpoints: their folder.
    notes: on the choice of seed and width, one line each."""

    record: Record
    suite: Suite
    checkpoints: Path
    width: int | None = None
    notes: tuple[str, ...] = ()


def choose(request: ModelRequest, registry: Registry, taken: str = "exported") -> Choice:
    """The record of a case. taken: what happens to its model, for notes.

    Raises StoreError without a finished record, SuiteError for components that have changed.
    """
    found = suite_records(request.suite, request.results, request.plan, lambda: registry)
    record, notes = _record(found, request, taken)
    store = Store(request.results, found.heading.name)
    suite = _suite(record, found.heading, store, registry)
    checkpoints = store.checkpoints(found.stored.get(record.key, record.key))
    return Choice(record, suite, checkpoints, request.width, notes)


def choose_made(suite: str, fingerprint: str, width: int | None, results: Path, registry: Registry) -> Choice:
    """The finished record with this fingerprint among those of a suite, by its name. width: numbers
    of an embedding. Raises StoreError without one, SuiteError for components that have changed."""
    store = Store(results, suite)
    record = store.by_fingerprint().get(fingerprint)
    if record is None:
        raise StoreError(f"{store.folder}: no finished record with the fingerprint {fingerprint[:8]}")
    heading = Heading(suite, suite)
    made = _suite(record, heading, store, registry)
    width = width if widths_of(record) else None
    return Choice(_at(record, width), made, store.checkpoints(record.key), width)


def fitted_distance(record: Record) -> float | None:
    """The fitted threshold of a record, a cosine distance; None without one."""
    distance: float | None = record.evaluation.get("threshold", {}).get("distance")
    return distance


def _suite(record: Record, heading: Heading, store: Store, registry: Registry) -> Suite:
    """The suite of a record's case and seed."""
    where = str(store.folder / f"{record.key}.json")
    settings = {**record.settings, "precision": "fp32"}
    path = heading.path or Path(f"{heading.name}.yaml")  # where the suite file would be
    if heading.path is not None:
        registry = suite_registry(load_document(path), registry)
    try:
        return recorded_suite(heading.name, path, record.case, record.seed, settings, where, registry)
    except SuiteError as error:
        if heading.path is not None or all(
            each["package"] != FILE_PACKAGE for each in record.components.values()
        ):
            raise
        raise SuiteError(
            f"{error}; the case has components of a Python file: give the suite's file, or --plugin FILE"
        ) from None


def _record(found: Selection, request: ModelRequest, taken: str) -> tuple[Record, tuple[str, ...]]:
    """The finished record of the case, at the width, and notes on the choice of seed and width. Raises
    StoreError."""
    records, where = found.records, request.suite
    names = dict.fromkeys((*(each.case for each in records), *(each.case for each in found.lacking)))
    if request.case not in names:
        raise StoreError(f"{where}: no case {request.case!r} ({hint(request.case, list(names))})")
    absent = {each.seed: each for each in found.lacking if each.case == request.case}
    seeds = {record.seed: _at(record, request.width) for record in records if record.case == request.case}
    if absent and (request.seed in absent or not seeds):
        each = absent.get(request.seed or 0, next(iter(absent.values())))
        size = f" --size {found.heading.size}" if found.heading.size else ""
        raise StoreError(f"{each}; run it first: mlbench run {where}{size} --cases {request.case}")
    seed, notes = (request.seed, ()) if request.seed is not None else _median_seed(seeds, taken)
    if seed not in seeds:
        known = ", ".join(map(str, sorted(seeds)))
        raise StoreError(f"{where}: case {request.case!r} has no seed {seed} (there are: {known})")
    record = seeds[seed]
    if record.status != "done":
        raise StoreError(f"case {record.case!r} failed and left no model: {record.error}")
    return record, (*notes, *_on_widths(record, request.width))


def _at(record: Record, width: int | None) -> Record:
    """The record at a nested width. Raises StoreError for a width that its case does not have."""
    widths = widths_of(record)
    if width is None or record.status != "done" or width in widths[-1:]:
        return record
    if not widths:
        raise StoreError(f"case {record.case!r} has no nested widths; leave --width {width} out")
    if width not in widths:
        known = ", ".join(map(str, widths))
        raise StoreError(f"case {record.case!r} has no width {width} (there are: {known})")
    return cut_record(record, width)


def _on_widths(record: Record, width: int | None) -> list[str]:
    """A note on the nested widths of the case."""
    widths = widths_of(record)
    if not widths:
        return []
    known = ", ".join(map(str, widths))
    if width in (None, widths[-1]):
        return [f"the case has the widths {known}; --width cuts the embeddings to one of them"]
    return [f"embeddings are cut to the first {width} of {widths[-1]} numbers; widths of the case: {known}"]


def _median_seed(seeds: Mapping[int, Record], taken: str) -> tuple[int, tuple[str, ...]]:
    """The finished seed with the median threshold (the lower one of two), or the first seed where none has a
    threshold; with a note where there is more than one."""
    finished = sorted(seed for seed, record in seeds.items() if record.status == "done")
    if len(finished) < 2:
        return min(finished or seeds), ()
    known = ", ".join(map(str, finished))
    known_distances = ((fitted_distance(seeds[seed]), seed) for seed in finished)
    distances = sorted((each, seed) for each, seed in known_distances if each is not None and each >= 0)
    if not distances:
        return finished[0], (
            f"seed {finished[0]} is {taken}, the first of {known}; choose another with --seed",
        )
    distance, seed = distances[(len(distances) - 1) // 2]
    return seed, (
        f"seed {seed} is {taken}: its threshold {distance:.4f} is the median of the seeds {known} "
        f"({distances[0][0]:.4f} to {distances[-1][0]:.4f}); choose another with --seed",
    )

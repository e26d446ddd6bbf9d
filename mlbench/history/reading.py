"""Reading of all records in folders of any depth, as the results and artefacts of many runs lie."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlbench.errors import StoreError, first_few
from mlbench.history.runs import moment
from mlbench.records.record import TRAINED, Record, parse_json
from mlbench.regression.baseline import read_baseline
from mlbench.tuning.tuning import STORE_SUFFIX

__all__ = ["Found", "read_records"]


@dataclass(frozen=True)
class Found:
    """Records by suite, each once. tolerances: by suite, of the last baseline that states some. remarks: on
    files that were left out, one line each."""

    suites: Mapping[str, Sequence[Record]]
    tolerances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read_records(places: Sequence[Path]) -> Found:
    """The records and baselines in files and folders. Raises StoreError where there is none, and for a place
    that does not exist."""
    known: dict[tuple[str, str, int, str, str], Record] = {}
    tolerances: dict[str, Mapping[str, float]] = {}
    remarks: list[str] = []
    others: list[str] = []
    for path in dict.fromkeys(each for place in places for each in _files(place)):
        try:
            records, stated = _read(path)
        except StoreError as error:
            remarks.append(f"left out: {error}")
            continue
        if records is None:
            others.append(str(path))
            continue
        for record in records:
            if stated is not None:
                tolerances[record.suite] = stated
            key = (record.suite, record.case, record.seed, record.fingerprint, record.finished)
            # A baseline has a part of the record alone.
            if key not in known or len(record.settings) > len(known[key].settings):
                known[key] = _lean(record)
    if not known:
        names = ", ".join(map(str, places))
        why = f" ({remarks[0]})" if remarks else ""
        raise StoreError(f"{names}: no records in there{why}; make them with: mlbench run SUITE.yaml")
    if others:
        remarks.append(f"left out {len(others)} JSON files that hold no records: {first_few(others, 3)}")
    suites: dict[str, list[Record]] = {}
    for record in sorted(known.values(), key=lambda each: (each.suite, moment(each.finished), each.seed)):
        suites.setdefault(record.suite, []).append(record)
    if trials := sorted(suite for suite in suites if suite.endswith(STORE_SUFFIX)):
        remarks.append(f"left out the trials of tunings, which have no history: {first_few(trials, 3)}")
    suites = {suite: each for suite, each in suites.items() if suite not in trials}
    return Found(suites, tolerances, tuple(remarks))


def _files(place: Path) -> Iterator[Path]:
    """JSON files in a folder, in the order of their paths, without hidden ones."""
    if place.is_file():
        yield place
    elif not place.is_dir():
        raise StoreError(f"{place}: not found; expected a folder of results, or a baseline")
    else:
        for folder, folders, files in os.walk(place):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            yield from (
                Path(folder, each)
                for each in sorted(files)
                if each.endswith(".json") and not each.startswith(".")
            )


def _read(path: Path) -> tuple[Sequence[Record] | None, Mapping[str, float] | None]:
    """Records of a file, and the tolerances that it states; None for other JSON."""
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from None
    if isinstance(data, dict) and "baseline" in data:
        found = read_baseline(path.read_bytes(), str(path))
        records, stated = found.records, found.tolerances
    elif isinstance(data, dict) and {"fingerprint", "suite", "case"} <= data.keys():
        records, stated = (Record.from_plain(data, str(path)),), None
    elif isinstance(data, dict) and {"machine_info", "benchmarks"} <= data.keys():
        return (), None  # speeds in the form of pytest-benchmark, which every run writes beside its records
    else:
        return None, None
    for record in records:
        try:
            moment(record.finished)
        except ValueError:
            raise StoreError(
                f"{path}: {record.case} seed {record.seed} has no time ({record.finished!r})"
            ) from None
    return records, stated


def _lean(record: Record) -> Record:
    """The record without curves and sweeps, which no history shows and which take most of the memory."""
    protocol = record.evaluation.get("protocol")
    training = {name: record.training[name] for name in TRAINED if name in record.training}
    return replace(record, training=training, evaluation={"protocol": protocol} if protocol else {})

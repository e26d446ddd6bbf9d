"""Baselines: small files to commit, with the parts of a suite's records that a comparison needs.

One file per suite and hardware, results/baselines/SUITE.CPU.CORES.json, in a stable order and with one line
per metric, so that a diff between two commits is readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError
from mlbench.planning.heading import checked_tolerances
from mlbench.records.record import Estimate, Record, Timing, parse_json
from mlbench.regression.change import CONDITIONS, hardware

__all__ = [
    "SCHEMA",
    "Baseline",
    "baseline_text",
    "choose_baseline",
    "is_baseline",
    "read_baseline",
    "save_baselines",
]

#: Version of the file format.
SCHEMA = 1

#: Significant digits of values with noise. Metrics are stored exactly.
_DIGITS = 5


@dataclass(frozen=True)
class Baseline:
    """Records of a suite on one hardware. hardware: see `mlbench.regression.change.hardware`. tolerances: of
    the suite when the baseline was saved."""

    suite: str
    hardware: Mapping[str, str]
    tolerances: Mapping[str, float]
    records: tuple[Record, ...]

    @property
    def file_name(self) -> str:
        """Name of its file in a folder of baselines."""
        parts = [self.hardware["cpu"], f"{self.hardware['cores']} cores", self.hardware.get("device", "")]
        slugs = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts]
        return ".".join([self.suite, *filter(None, slugs), "json"])


def save_baselines(records: Sequence[Record], tolerances: Mapping[str, float], target: Path) -> list[Path]:
    """Write the finished records of one suite as baselines, one per hardware.

    target: a folder, or a file name that ends in .json for records of one hardware. Raises StoreError.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.status == "done":
            groups.setdefault(tuple(hardware(record).values()), []).append(record)
    if not groups:
        raise StoreError("there is no finished record for a baseline; run the suite first")
    if target.suffix == ".json" and len(groups) > 1:
        raise StoreError(f"{target}: the records come from {len(groups)} machines; give a folder instead")
    found: dict[Path, Baseline] = {}
    for group in groups.values():
        ordered = sorted(group, key=lambda record: (record.case, record.seed))
        each = Baseline(group[0].suite, hardware(group[0]), tolerances, tuple(ordered))
        path = target if target.suffix == ".json" else target / each.file_name
        if path in found:
            names = " and ".join(other.hardware["cpu"] for other in (found[path], each))
            raise StoreError(f"{path}: {names} have the same file name; save them to separate files")

        found[path] = each
    for path, each in found.items():
        write_atomically(path, baseline_text(each).encode())
    return list(found)


def read_baseline(text: str | bytes, where: str) -> Baseline:
    """Read a baseline from the content of its file. Raises StoreError, naming `where`, if it is none."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise StoreError(f"{where}: cannot be read ({error})") from None
    version = data.get("baseline") if isinstance(data, dict) else None
    if version is None:
        raise StoreError(f"{where}: not a baseline; make one with: mlbench baseline save SUITE")
    if version != SCHEMA:
        raise StoreError(f"{where}: baseline schema {version!r}; this mlbench reads {SCHEMA}")
    try:
        machine = {str(name): str(value) for name, value in data["hardware"].items()}
        tolerances = checked_tolerances(data["tolerances"])
        records = tuple(Record.from_plain(each, where) for each in data["records"])
        if not records:
            raise StoreError(f"{where}: the baseline has no record")
        return Baseline(str(data["suite"]), machine, tolerances, records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise StoreError(f"{where}: not a baseline ({reason})") from None


def is_baseline(path: Path) -> bool:
    """Whether a file holds a baseline."""
    try:
        _read(path)
    except StoreError:
        return False
    return True


def choose_baseline(path: Path, suite: str, records: Sequence[Record]) -> tuple[Path, Baseline]:
    """The baseline of a suite in a file or folder: of the records' hardware, else of their kind of device,
    else any.

    Raises StoreError if there is no baseline of the suite.
    """
    if not path.is_dir():
        found = _read(path)
        if found.suite != suite:
            raise StoreError(f"{path}: a baseline of the suite {found.suite!r}, not of {suite!r}")
        return path, found
    files = {each: _read(each) for each in sorted(path.glob(f"{suite}.*.json"))}
    files = {each: found for each, found in files.items() if found.suite == suite}
    if not files:
        raise StoreError(f"{path}: no baseline of the suite {suite!r}; make one with: mlbench baseline save")
    here = [hardware(record) for record in records]
    kinds = {_device(each) for each in here}

    def distance(pair: tuple[Path, Baseline]) -> int:
        known = pair[1].hardware
        return 0 if known in here else 1 if _device(known) in kinds else 2

    return min(files.items(), key=distance)  # the first by name among equals


def baseline_text(baseline: Baseline) -> str:
    """The content of a file: JSON with one line per quantity."""
    head = {
        "baseline": SCHEMA,
        "suite": baseline.suite,
        "hardware": dict(baseline.hardware),
        "tolerances": dict(sorted(baseline.tolerances.items())),
    }
    lines = [f" {_dump(name)}: {_dump(value)}," for name, value in head.items()]
    records = ",\n".join(_record_text(record) for record in baseline.records)
    return "\n".join(["{", *lines, ' "records": [', records, " ]", "}"]) + "\n"


def _record_text(record: Record) -> str:
    return "  {\n" + ",\n".join(_members(_reduced(record))) + "\n  }"


def _members(data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if name in ("metrics", "speed", "memory"):
            inner = ",\n".join(f"    {_dump(key)}: {_dump(each)}" for key, each in value.items())
            yield f"   {_dump(name)}: {{\n{inner}\n   }}"
        else:
            yield f"   {_dump(name)}: {_dump(value)}"


def _reduced(record: Record) -> dict[str, Any]:
    """The fields of a record that a comparison reads; they load as a record."""
    metrics = {name: _lean(_rounded(each), Estimate(None)) for name, each in record.metrics.items()}
    protocol = record.evaluation.get("protocol", {})
    protocol = {name: protocol[name] for name in ("gallery", "split") if protocol.get(name)}
    plain: dict[str, Any] = {
        "schema": record.schema,
        "suite": record.suite,
        "case": record.case,
        "seed": record.seed,
        "fingerprint": record.fingerprint,
        "status": record.status,
        "finished": record.finished,
        "environment": {
            name: record.environment[name]
            for name in ("cpu", "cores", "device", "device_product", "revision")
            if name in record.environment
        },
        "conditions": dict(record.conditions),
        "data": {name: record.data[name] for name in ("version",) if name in record.data},
        "evaluation": {"protocol": protocol} if protocol else {},
        "measured": {name: record.measured[name] for name in CONDITIONS if name in record.measured},
        "size": dict(sorted(record.size.items())),
        "metrics": metrics,
    }
    for name in ("speed", "memory"):
        group: Mapping[str, Timing] = getattr(record, name)
        plain[name] = {
            key: _lean(
                replace(each, rounds=_shortened(each.rounds), reference=_shortened(each.reference)),
                Timing(None),
            )
            for key, each in sorted(group.items())
        }
    return {name: value for name, value in plain.items() if value != {}}


def _lean(each: Estimate | Timing, default: Estimate | Timing) -> dict[str, Any]:
    """The value, and the fields that differ from the defaults."""
    fields = {name: getattr(each, name) for name in each.__dataclass_fields__}
    return {k: v for k, v in fields.items() if k == "value" or v != getattr(default, k)}


def _rounded(each: Estimate) -> Estimate:
    low, high = (None if bound is None else _short(bound) for bound in (each.low, each.high))
    return replace(each, low=low, high=high)


def _shortened(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(_short(value) for value in values)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _device(machine: Mapping[str, str]) -> str:
    """Kind of device, "" for the CPU."""
    return machine.get("device", "").partition(" ")[0]


def _read(path: Path) -> Baseline:
    try:
        return read_baseline(path.read_bytes(), str(path))
    except OSError as error:
        advice = (
            "; make one with: mlbench baseline save SUITE" if isinstance(error, FileNotFoundError) else ""
        )
        raise StoreError(f"{path}: cannot be read ({error.strerror}){advice}") from None


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)

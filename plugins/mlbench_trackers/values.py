"""What the trackers show of a case: its settings and numbers under flat names, and what describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlbench.plugin import TrackedCase

__all__ = [
    "case_key",
    "epoch_values",
    "facts",
    "flat",
    "record_key",
    "remarks",
    "results",
    "run_name",
    "speeds",
]

#: Groups of a record with a measurement, in `speeds`.
_MEASURED = ("speed", "memory")


def case_key(case: TrackedCase) -> tuple[str, int]:
    """What tells a case from the others of a run; its fingerprint may change while it runs."""
    return case.name, case.seed


def record_key(record: Mapping[str, Any]) -> tuple[str, int]:
    """The key of the case of a record, as `case_key`."""
    return record["case"], record["seed"]


def run_name(case: TrackedCase) -> str:
    """Such as "gap-s0-1a2b3c4d", as the record is called."""
    return f"{case.name}-s{case.seed}-{case.fingerprint[:8]}"


def facts(case: TrackedCase) -> dict[str, str]:
    """What describes a case besides its settings, by name."""
    axes = {f"axis {axis}": label for axis, label in case.axes.items()}
    return {
        "suite": case.suite,
        "case": case.name,
        "seed": str(case.seed),
        "fingerprint": case.fingerprint,
        "device": case.device,
        **axes,
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by the dotted names of suite files, such as "recipe.lr"."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def epoch_values(values: Mapping[str, float]) -> dict[str, float]:
    """Values of an epoch, such as "training/loss"."""
    return {f"training/{name}": value for name, value in values.items()}


def results(record: Mapping[str, Any]) -> dict[str, float]:
    """Metrics with the ends of their intervals, and sizes: "metrics/f1", "metrics/f1_low", "size/bytes"."""
    found: dict[str, float | None] = {}
    for name, each in record["metrics"].items():
        found |= {
            f"metrics/{name}": each["value"],
            f"metrics/{name}_low": each["low"],
            f"metrics/{name}_high": each["high"],
        }
    found |= {f"size/{name}": value for name, value in record["size"].items()}
    found |= {f"seconds/{name}": value for name, value in record["seconds"].items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def speeds(record: Mapping[str, Any]) -> dict[str, float]:
    """Speeds and peaks of memory: "speed/images_per_second", "memory/peak_host"."""
    return {
        f"{group}/{name}": float(each["value"])
        for group in _MEASURED
        for name, each in record[group].items()
        if each["value"] is not None
    }


def remarks(record: Mapping[str, Any]) -> dict[str, str]:
    """The error and the notes of a record, where there are any."""
    found = {"error": record["error"], "notes": "\n".join(record["notes"])}
    return {name: text for name, text in found.items() if text}

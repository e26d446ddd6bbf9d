"""Records in the form of pytest-benchmark, whose tools list, compare and plot them.

The time of a benchmark is that of embedding one batch; `extra_info` has metrics, sizes and memory.

pytest-benchmark has no public function that makes benchmarks of given times. This module alone uses its
undocumented ones (hooks of `plugin`, `stats.Metadata`, helpers of `utils`), tried with version 5.3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.records.record import Record, Timing

__all__ = [
    "FOLDER",
    "batch_seconds",
    "benchmark_name",
    "benchmarks_json",
    "extra_info",
    "identity",
    "save_benchmarks",
]

#: Conditions of the measurement that are stored with the times.
_MEASURED = ("batch_size", "training_batch_size", "threads", "precision")

#: Folder beside the records, a storage of pytest-benchmark.
FOLDER = "benchmarks"


def benchmark_name(case: str, seed: int) -> str:
    """Name of a case as a benchmark."""
    return f"{case}[{seed}]"


def identity(record: Record) -> dict[str, Any]:
    """Attributes of pytest-benchmark's fixture that identify a benchmark, independent of the suite's path."""
    return {
        "fullname": f"{record.suite}::{benchmark_name(record.case, record.seed)}",
        "param": str(record.seed),
        "params": {"seed": record.seed, **record.axes},
    }


def batch_seconds(record: Record) -> list[float]:
    """Seconds of embedding a batch, by round; [] if unknown."""
    speed: Mapping[str, Any] = record.speed
    if record.status != "done" or "images_per_second" not in speed:
        return []
    return [record.measured["batch_size"] / each for each in speed["images_per_second"].rounds]


def extra_info(record: Record) -> dict[str, Any]:
    """Metrics, speeds, sizes and memory of a record, stored by pytest-benchmark with the time."""
    info: dict[str, Any] = {name: found.value for name, found in record.metrics.items()}
    info |= {name: found.value for name, found in (*record.speed.items(), *record.memory.items())}
    info |= record.size
    return {
        **info,
        "rounds_of_reference": list(record.speed.get("images_per_second", Timing(None)).reference),
        **{name: record.measured.get(name) for name in _MEASURED},
        "device": record.environment.get("device"),
        "case": record.case,
        "seed": record.seed,
        "fingerprint": record.fingerprint,
        "notes": list(record.notes),
    }


def benchmarks_json(records: Sequence[Record]) -> dict[str, Any]:
    """The records that have a throughput, as `pytest SUITE --benchmark-json` writes them."""
    from pytest_benchmark.plugin import pytest_benchmark_generate_json, pytest_benchmark_generate_machine_info
    from pytest_benchmark.utils import get_commit_info

    found: dict[str, Any] = pytest_benchmark_generate_json(
        config=None,
        benchmarks=[_benchmark(record) for record in records if batch_seconds(record)],
        include_data=True,
        machine_info=pytest_benchmark_generate_machine_info(),
        commit_info=get_commit_info(),
    )
    return found


def save_benchmarks(records: Sequence[Record], folder: Path) -> Path | None:
    """Add a run to the storage of pytest-benchmark in `folder`; None if nothing was timed.

    Read it with: pytest-benchmark --storage FOLDER/benchmarks list | compare.
    """
    from pytest_benchmark.utils import get_machine_id, safe_dumps

    data = benchmarks_json(records)
    if not data["benchmarks"]:
        return None
    machine = folder / FOLDER / get_machine_id()
    taken = [int(path.name[:4]) for path in machine.glob("[0-9][0-9][0-9][0-9]_*.json")]
    path = machine / f"{max(taken, default=0) + 1:04}_mlbench.json"
    write_atomically(path, safe_dumps(data, ensure_ascii=True, indent=1).encode())
    return path


def _benchmark(record: Record) -> Any:
    from pytest_benchmark.stats import Metadata

    fixture = SimpleNamespace(
        **identity(record),
        name=benchmark_name(record.case, record.seed),
        group=None,
        extra_info=extra_info(record),
        cprofile_stats=None,
        has_error=False,
    )
    benchmark = Metadata(fixture, iterations=1, options={})
    for seconds in batch_seconds(record):
        benchmark.update(seconds)
    return benchmark

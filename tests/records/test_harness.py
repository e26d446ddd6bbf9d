from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mlbench.records.harness import extra_info, save_benchmarks
from mlbench.records.record import Estimate, Record, Timing

RECORD = Record(
    suite="s",
    case="gap",
    seed=1,
    fingerprint="0123",
    status="done",
    axes={"neck": "gap"},
    metrics={"accuracy": Estimate(0.9), "f1": Estimate(0.8, 0.7, 0.9), "threshold": Estimate(0.3)},
    size={"parameters": 3, "checkpoint_float32": 99},
    speed={
        "images_per_second": Timing(20.0, (10.0, 20.0, 40.0), "images/s", reference=(0.1, 0.2, 0.3)),
    },
    memory={"peak_host": Timing(1000, unit="bytes", higher_is_better=False)},
    measured={"batch_size": 40},
    environment={"device": "cpu"},
)
FAILED = replace(RECORD, seed=2, status="failed", speed={})
UNKNOWN = replace(RECORD, seed=3, speed={"images_per_second": Timing(None, note="out of memory")})


def test_extra_info_has_metrics_sizes_and_memory() -> None:
    info = extra_info(RECORD)
    expected = {"accuracy": 0.9, "f1": 0.8, "threshold": 0.3, "parameters": 3, "peak_host": 1000, "seed": 1}
    assert expected.items() <= info.items()
    assert info["rounds_of_reference"] == [0.1, 0.2, 0.3]


def test_save_benchmarks_numbers_runs_and_times_batches(tmp_path: Path) -> None:
    first = save_benchmarks([RECORD, FAILED, UNKNOWN], tmp_path)
    second = save_benchmarks([RECORD], tmp_path)
    assert (first.name, second.name) == ("0001_mlbench.json", "0002_mlbench.json")
    data = json.loads(first.read_text())
    assert data.keys() == {"machine_info", "commit_info", "benchmarks", "datetime", "version"}
    (benchmark,) = data["benchmarks"]
    assert (benchmark["name"], benchmark["fullname"]) == ("gap[1]", "s::gap[1]")
    assert benchmark["stats"]["data"] == [4.0, 2.0, 1.0]
    assert (benchmark["stats"]["median"], benchmark["stats"]["rounds"]) == (2.0, 3)
    assert benchmark["extra_info"]["f1"] == 0.8
    assert (benchmark["param"], benchmark["params"]) == ("1", {"seed": 1, "neck": "gap"})


def test_nothing_is_written_without_times(tmp_path: Path) -> None:
    assert save_benchmarks([FAILED, UNKNOWN], tmp_path) is None
    assert list(tmp_path.iterdir()) == []

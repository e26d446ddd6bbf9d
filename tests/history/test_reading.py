from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import made, scores

from mlbench.errors import StoreError
from mlbench.history.reading import read_records
from mlbench.records.record import Estimate
from mlbench.records.store import Store
from mlbench.regression.baseline import save_baselines


def test_records_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    for number, each in enumerate(scores([0.9, 0.8])):
        each = replace(each, settings={"image": {}}, training={"curves": {"loss": [1.0]}})
        Store(tmp_path / f"run{number}" / "results", "s").put(each)
        Store(tmp_path / "copy", "s").put(each)
        save_baselines([each], {"recall_at_1": 0.1}, tmp_path / f"{number}.json")
    found = read_records([tmp_path, tmp_path / "copy"])
    assert [each.metrics["recall_at_1"].value for each in found.suites["s"]] == [0.9, 0.8]
    assert found.tolerances == {"s": {"recall_at_1": 0.1}}
    assert found.remarks == ()
    assert all(each.settings and not each.training for each in found.suites["s"])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    Store(tmp_path, "s").put(made(0, metrics={"f1": Estimate(0.5)}))
    (tmp_path / "s" / "broken.json").write_text("{")
    (tmp_path / "s" / "newer.json").write_text(json.dumps({**made(1).plain(), "schema": 99, "suite": "s"}))
    (tmp_path / "s" / "timeless.json").write_text(json.dumps(replace(made(1), finished="?").plain()))
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "0001_mlbench.json").write_text('{"machine_info": {}, "benchmarks": []}')
    found = read_records([tmp_path])
    assert len(found.suites["s"]) == 1
    text = "\n".join(found.remarks)
    assert "0001_mlbench" not in text
    for name, why in (
        ("broken.json", "cannot be read"),
        ("newer.json", "schema 99"),
        ("timeless.json", "has no time"),
        ("other.json", "hold no records"),
    ):
        assert any(name in line and why in line for line in found.remarks), text


def test_trials_of_tunings_have_no_history(tmp_path: Path) -> None:
    Store(tmp_path, "s").put(made(0))
    Store(tmp_path, "s+tune").put(made(0, suite="s+tune"))
    found = read_records([tmp_path])
    assert [*found.suites] == ["s"]
    assert "s+tune" in found.remarks[0]


def test_nothing_to_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no records in there"):
        read_records([tmp_path])
    with pytest.raises(StoreError, match="not found"):
        read_records([tmp_path / "nowhere"])

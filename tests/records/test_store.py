from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import StoreError
from mlbench.records.record import SCHEMA, Estimate, Record
from mlbench.records.store import Store

MADE = {"core": "a", "libraries": {"torch": "2.15"}, "device": "cpu x", "threads": 2, "data": "1"}
RECORD = Record(
    suite="s", case="gap", seed=1, fingerprint="0123456789abcdef", status="done", finished="2026-01-01"
)


def test_get_returns_the_record_that_was_put(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    record = replace(
        RECORD, metrics={"f1": Estimate(0.1 + 0.2)}, notes=("prüfen",), settings={"a": [1, None, "x"]}
    )
    path = store.put(record)
    assert path == tmp_path / "s" / "gap-s1-01234567.json"
    assert store.get(record.key) == record


def test_nothing_is_created_before_the_first_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "s")
    assert store.get("gap-s1-01234567") is None
    assert store.latest() == ([], [])
    assert not (tmp_path / "results").exists()


def test_latest_gives_the_newest_of_each_case_and_seed(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    newer = replace(RECORD, fingerprint="f" * 16, finished="2026-02-01")
    other = replace(RECORD, seed=0)
    for record in (newer, RECORD, other):
        store.put(record)
    assert store.latest() == ([other, newer], [])


def test_latest_does_not_mix_settings_of_one_case(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    old = replace(RECORD, settings={"neck": {"dim": 8}}, fingerprint="e" * 16, finished="2025-01-01")
    seeds = [replace(RECORD, seed=seed, settings={"neck": {"dim": 32}}) for seed in (2, 0)]
    early = replace(RECORD, case="before", finished="2024-01-01")
    for record in (old, *seeds, early):
        store.put(record)
    records, remarks = store.latest()
    assert records == [early, seeds[1], seeds[0]]
    assert remarks == ["gap: left out an older record, made with other settings"]


@pytest.mark.parametrize(
    "change",
    [
        {"conditions": {**MADE, "core": "other"}},
        {"conditions": {**MADE, "libraries": {"torch": "2.14"}}},
        {"conditions": {**MADE, "threads": 1}},
        {"conditions": {**MADE, "device": "cpu EPYC"}},
        {"conditions": {**MADE, "data": "2"}},
        {"components": {"neck": {"package": "mlbench", "version": "1", "code": "other"}}},
    ],
)
@pytest.mark.parametrize("case", ["gap", "squeeze"])
def test_latest_does_not_mix_code_libraries_threads_or_data(
    tmp_path: Path, change: dict[str, Any], case: str
) -> None:
    """Within a case and across cases."""
    store = Store(tmp_path, "s")
    facts = {"conditions": MADE, "components": {"neck": {"package": "mlbench", "version": "1", "code": "c"}}}
    newer = [replace(RECORD, seed=seed, finished=f"2026-02-0{seed}", **facts) for seed in (1, 2)]
    old = replace(RECORD, case=case, seed=3, **{**facts, **change})
    for record in (*newer, old):
        store.put(record)
    records, remarks = store.latest()
    assert records == newer
    what = "code, libraries, device, threads, data or initial weights"
    assert remarks == [f"{case}: left out an older record, made with other {what}"]


def test_latest_allows_data_versions_that_differ_with_settings(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    records = [
        replace(
            RECORD,
            case=f"size {size}",
            finished=f"2026-{size}",
            settings={"dataset": {"name": "a"}, "image": {"size": size}},
            conditions={**MADE, "data": f"at {size}"},
        )
        for size in (64, 96)
    ]
    for record in records:
        store.put(record)
    assert store.latest() == (records, [])


def test_latest_allows_inner_components_of_different_packages(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    records = [
        replace(
            RECORD,
            case=name,
            finished=f"2026-{at}",
            settings={"loss": {"name": "outer", "inner": [{"name": name}]}},
            components={"loss": {"code": "o"}, "loss.inner.0": {"code": name}},
            conditions=MADE,
        )
        for at, name in enumerate(("a", "b"))
    ]
    for record in records:
        store.put(record)
    assert store.latest() == (records, [])
    edited = replace(records[0], components={"loss.inner.0": {"code": "edited"}}, finished="2027")
    store.put(replace(edited, seed=9))
    assert [each.case for each in store.latest()[0]] == ["b", "a"]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    path = store.put(RECORD)
    path.write_text(path.read_text()[:40])
    other = replace(RECORD, seed=0)
    store.put(other)
    records, remarks = store.latest()
    assert records == [other]
    assert re.search(r"gap-s1-01234567.json: cannot be read .*; delete it", remarks[0])
    with pytest.raises(StoreError, match=r"gap-s1-01234567.json: cannot be read .*; delete it"):
        store.get(RECORD.key)
    path.write_text("[]")
    with pytest.raises(StoreError, match="not a record"):
        store.get(RECORD.key)


def test_a_record_of_an_unknown_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"x\.json: record schema 99; this mlbench reads 1"):
        Record.from_plain({**RECORD.plain(), "schema": 99}, "x.json")


def test_records_of_every_past_schema_load() -> None:
    paths = sorted(Path(__file__).parent.glob("v*.json"))
    assert [path.stem for path in paths] == [f"v{version}" for version in range(1, SCHEMA + 1)]
    for path in paths:
        record = Record.from_plain(json.loads(path.read_text()), str(path))
        assert record.status == "done"
        assert record.metrics["f1"].value > 0


def test_a_value_that_json_lacks_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Store(tmp_path, "s").put(replace(RECORD, metrics={"f1": Estimate(float("nan"))}))
    assert not (tmp_path / "s").exists()


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    with (
        store.locked(),
        pytest.raises(StoreError, match="another run is writing here"),
        Store(tmp_path, "s").locked(),
    ):
        pass
    with store.locked():
        pass


def test_a_killed_run_leaves_no_lock_and_no_temporary_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from mlbench.atomic_write import write_atomically; from mlbench.records.store import Store\n"
        "root, kill = Path(sys.argv[1]), lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with Store(root, 's').locked(): write_atomically(root / 's' / 'key' / 'x.pt', kill)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    checkpoints = tmp_path / "s" / "key"
    assert len(list(checkpoints.iterdir())) == 1
    with Store(tmp_path, "s").locked():
        assert list(checkpoints.iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    with pytest.raises(StoreError, match=r"\.lock: cannot be written"), Store(tmp_path, "s").locked():
        pass


def test_latest_ignores_settings_of_the_measurement(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    quick, long = (
        replace(RECORD, seed=seed, settings={"measure": {"rounds": 7 * (seed + 1)}}) for seed in (0, 1)
    )
    for record in (quick, long):
        store.put(record)
    assert store.latest() == ([quick, long], [])


@pytest.mark.parametrize("levels", [101, 100_000])
def test_a_deeply_nested_record_is_named(tmp_path: Path, levels: int) -> None:
    store = Store(tmp_path, "s")
    store.put(RECORD)
    text = json.dumps({**RECORD.plain(), "settings": "?"}).replace('"?"', "[" * levels + "]" * levels)
    for content in (text, "[" * levels + "]" * levels):
        (tmp_path / "s" / "deep.json").write_text(content)
        records, remarks = store.latest()
        assert records == [RECORD]
        assert re.search(
            r"deep.json: cannot be read \(nested more than 100 levels deep\); delete it", remarks[0]
        )

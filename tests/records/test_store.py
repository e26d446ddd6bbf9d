from __future__ import annotations

import json
import os
import re
import resource
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import full_disk

from mlbench.errors import StoreError
from mlbench.records.record import SCHEMA, Estimate, Record
from mlbench.records.store import Store, write_atomically

MADE = {"core": "a", "libraries": {"torch": "2.15"}, "device": "cpu x", "threads": 2, "data": "1"}
RECORD = Record(
    suite="s", case="gap", seed=1, fingerprint="0123456789abcdef", status="done", finished="2026-01-01"
)


def test_put_then_get_gives_the_record_back(tmp_path: Path) -> None:
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


def test_latest_does_not_mix_experiments_of_one_name(tmp_path: Path) -> None:
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
def test_latest_does_not_mix_what_other_code_libraries_threads_or_data_made(
    tmp_path: Path, change: dict[str, Any], case: str
) -> None:
    """Neither among the seeds of a case nor among cases."""
    store = Store(tmp_path, "s")
    facts = {"conditions": MADE, "components": {"neck": {"package": "mlbench", "version": "1", "code": "c"}}}
    newer = [replace(RECORD, seed=seed, finished=f"2026-02-0{seed}", **facts) for seed in (1, 2)]
    old = replace(RECORD, case=case, seed=3, **{**facts, **change})
    for record in (*newer, old):
        store.put(record)
    records, remarks = store.latest()
    assert records == newer
    what = "code, libraries, device, threads, data or first weights"
    assert remarks == [f"{case}: left out an older record, made with other {what}"]


def test_latest_takes_data_sets_of_several_versions_where_settings_differ(tmp_path: Path) -> None:
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


def test_a_record_with_a_value_that_json_lacks_is_not_half_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Store(tmp_path, "s").put(replace(RECORD, metrics={"f1": Estimate(float("nan"))}))
    assert not (tmp_path / "s").exists()


def test_write_atomically_keeps_the_old_file_when_the_disk_is_full(tmp_path: Path) -> None:
    """A real write that the operating system ends: a limit on file size stands for the full disk."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from mlbench.records.store import write_atomically; from mlbench.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        "try: write_atomically(Path(sys.argv[1]), b'n' * 5000)\n"
        "except StoreError as error: print(error)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip().endswith(
        "x: cannot be written (File too large); free space or choose another folder"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "x", b"")


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


def test_latest_takes_seeds_together_however_their_speed_was_measured(tmp_path: Path) -> None:
    store = Store(tmp_path, "s")
    quick, long = (
        replace(RECORD, seed=seed, settings={"measure": {"rounds": 7 * (seed + 1)}}) for seed in (0, 1)
    )
    for record in (quick, long):
        store.put(record)
    assert store.latest() == ([quick, long], [])


def test_write_atomically_tells_of_the_full_disk_whatever_the_writer_makes_of_it(tmp_path: Path) -> None:
    def write(file) -> None:
        try:
            file.write(b"n" * 50_000)
        except OSError as error:
            raise RuntimeError("unexpected pos 704 vs 598") from error

    with (
        full_disk(1000),
        pytest.raises(StoreError, match=r"x: cannot be written \(File too large\); free space"),
    ):
        write_atomically(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_writer_stays_what_it_is(tmp_path: Path) -> None:
    def write(file) -> None:
        file.write(b"half")
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(OSError, match="Cannot allocate memory"):
        write_atomically(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_permissions_are_those_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(StoreError, match="/dev/full: is no regular file; choose another folder"):
        write_atomically(Path("/dev/full"), b"x")
    assert Path("/dev/full").is_char_device()


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

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import HERE, record

from mlbench.errors import StoreError
from mlbench.records.record import Estimate, Record, Timing
from mlbench.regression.baseline import choose_baseline, read_baseline, save_baselines
from mlbench.regression.comparison import compare

RECORDS = [
    record(
        seed,
        case=case,
        metrics={"f1": Estimate(0.1 + seed / 3, 0.1, 0.9), "eer": Estimate(0.2, higher_is_better=False)},
        speed={
            "images_per_second": Timing(
                123.456789, (123.456789, 120.0, 130.0, 125.0), "images/s", reference=(0.1, 0.11, 0.1, 0.12)
            ),
        },
        size={"parameters": 10, "onnx": None},
        data={"version": "1", "splits": {"train": {"images": 3}}},
        measured={"batch_size": 32, "threads": 2, "libraries": {"torch": "2"}},
        settings={"recipe": {"epochs": 3}},
        evaluation={"protocol": {"gallery": "train", "text": "closed set"}, "sweep": {}},
    )
    for case in ("squeeze", "gap")
    for seed in (1, 0)
]


def saved(folder: Path, records: list[Record] = RECORDS) -> Path:
    (path,) = save_baselines(records, {"f1": 0.02}, folder)
    return path


def test_save_names_the_file_by_suite_and_hardware(tmp_path: Path) -> None:
    there = {"cpu": "AMD EPYC (9R14)", "cores": 2, "device_product": "NVIDIA H200", "device": "cuda:0"}
    path = saved(tmp_path / "new", [replace(each, environment=there) for each in RECORDS])
    assert path == tmp_path / "new" / "s.amd-epyc-9r14.2-cores.cuda-nvidia-h200.json"
    assert saved(tmp_path).name == "s.x.2-cores.json"


def test_a_saved_baseline_compares_like_its_records(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = read_baseline(path.read_bytes(), str(path))
    assert (found.suite, found.tolerances) == ("s", {"f1": 0.02})
    assert found.hardware == {"cpu": "x", "cores": "2"}
    for old in (RECORDS, found.records):
        changes = compare(old, RECORDS, {"f1": 0.02}).changes
        assert len(changes) == 2 * 4
        assert {each.verdict for each in changes} <= {"same", "inconclusive"}
    before, after = (compare(old, RECORDS, {}).changes for old in (RECORDS, found.records))
    key = [(each.case, each.name, each.verdict) for each in before]
    assert sorted(key) == sorted((each.case, each.name, each.verdict) for each in after)


def test_a_saved_baseline_is_small_and_in_stable_order(tmp_path: Path) -> None:
    first = saved(tmp_path / "a").read_bytes()
    second = saved(tmp_path / "b", list(reversed(RECORDS))).read_bytes()
    assert first == second
    data = json.loads(first)
    assert [(each["case"], each["seed"]) for each in data["records"]] == [
        ("gap", 0), ("gap", 1), ("squeeze", 0), ("squeeze", 1)
    ]  # fmt: skip
    assert "settings" not in data["records"][0]
    assert data["records"][0]["evaluation"] == {"protocol": {"gallery": "train"}}
    assert data["records"][0]["measured"] == {"batch_size": 32, "threads": 2}
    assert list(data["records"][0]["metrics"]) == list(RECORDS[0].metrics)
    assert b'\n    "eer": {"value": 0.2, "higher_is_better": false}\n' in first
    assert data["records"][0]["speed"]["images_per_second"]["rounds"][0] == 123.46


def test_save_writes_one_file_for_each_hardware(tmp_path: Path) -> None:
    there = replace(RECORDS[0], environment={**HERE, "cores": 64})
    paths = save_baselines([*RECORDS[1:], there], {}, tmp_path)
    assert [path.name for path in paths] == ["s.x.2-cores.json", "s.x.64-cores.json"]
    with pytest.raises(StoreError, match="come from 2 machines; give a folder"):
        save_baselines([*RECORDS[1:], there], {}, tmp_path / "one.json")
    assert not (tmp_path / "one.json").exists()


def test_save_leaves_out_failed_cases(tmp_path: Path) -> None:
    failed = replace(RECORDS[0], status="failed", error="boom")
    path = saved(tmp_path, [failed, RECORDS[1]])
    assert len(read_baseline(path.read_bytes(), "x").records) == 1
    with pytest.raises(StoreError, match="no finished record"):
        save_baselines([failed], {}, tmp_path)


def test_choose_takes_the_file_of_this_hardware(tmp_path: Path) -> None:
    there = [replace(each, environment={**HERE, "cores": 1}) for each in RECORDS]
    saved(tmp_path, there)
    path = saved(tmp_path)
    assert choose_baseline(tmp_path, "s", RECORDS)[0] == path
    elsewhere = [replace(each, environment={**HERE, "cpu": "y"}) for each in RECORDS]
    assert choose_baseline(tmp_path, "s", elsewhere)[0].name == "s.x.1-cores.json"
    assert choose_baseline(path, "s", elsewhere)[0] == path


def test_choose_prefers_the_same_kind_of_device(tmp_path: Path) -> None:
    gpu = {**HERE, "cpu": "a", "device": "cuda:0", "device_product": "H200"}
    saved(tmp_path, [replace(each, environment=gpu) for each in RECORDS])
    path = saved(tmp_path)
    elsewhere = [replace(each, environment={**HERE, "cpu": "y"}) for each in RECORDS]
    assert choose_baseline(tmp_path, "s", elsewhere)[0] == path


def test_two_machines_never_share_a_file(tmp_path: Path) -> None:
    names = ("EPYC (9)", "EPYC 9")
    records = [replace(each, environment={**HERE, "cpu": cpu}) for each in RECORDS for cpu in names]
    with pytest.raises(StoreError, match=r"EPYC \(9\) and EPYC 9 have the same file name"):
        save_baselines(records, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    nameless = [replace(each, environment={**HERE, "cpu": "龍芯"}) for each in RECORDS]
    assert saved(tmp_path, nameless).name == "s.2-cores.json"


def test_choose_refuses_baselines_of_other_suites(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(StoreError, match="a baseline of the suite 's', not of 't'"):
        choose_baseline(path, "t", RECORDS)
    with pytest.raises(StoreError, match="no baseline of the suite 't'; make one with"):
        choose_baseline(tmp_path, "t", RECORDS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("[]", "not a baseline; make one with"),
        ('{"suite": "s"}', "not a baseline; make one with"),
        ('{"baseline": 2}', "baseline schema 2; this mlbench reads 1"),
        ('{"baseline": 1}', "not a baseline .*hardware"),
        ('{"baseline": 1, "suite": "s", "hardware": {}, "tolerances": {}, "records": [3]}', "not a baseline"),
        ('{"baseline": 1, "suite": "s", "hardware": {}, "tolerances": {}, "records": [{}]}', "schema None"),
        ('{"baseline": 1, "suite": "s", "hardware": 3, "tolerances": {}, "records": []}', "not a baseline"),
        ('{"baseline": 1, "hardware": {}, "tolerances": {"f1": -1}}', "f1: expected numbers >= 0"),
        ('{"baseline": 1, "hardware": {}, "tolerances": {"f1": NaN}}', "NaN is not a number"),
    ],
)
def test_read_refuses_other_files(text: str, reason: str) -> None:
    with pytest.raises(StoreError, match=f"^file: .*{reason}"):
        read_baseline(text, "file")


def test_read_refuses_hardware_without_a_name() -> None:
    text = '{"baseline": 1, "suite": "s", "hardware": {}, "tolerances": {}, "records": []}'
    with pytest.raises(StoreError, match="no record"):
        read_baseline(text, "file")


def test_a_deeply_nested_baseline_is_refused_in_one_line() -> None:
    with pytest.raises(StoreError, match=r"^x: cannot be read \(nested more than 100 levels deep\)$"):
        read_baseline("[" * 100_000 + "]" * 100_000, "x")

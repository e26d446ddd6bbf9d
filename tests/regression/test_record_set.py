from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import record

from mlbench.errors import MlbenchError, StoreError
from mlbench.records.record import Estimate, Record
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.regression.baseline import save_baselines
from mlbench.regression.record_set import RecordSet
from mlbench.regression.record_set import load_record_set as load

RECORD = replace(record(), metrics={"f1": Estimate(0.5)}, finished="2026-01-01")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    Store(tmp_path / "results", "s").put(RECORD)
    return tmp_path / "results"


def load_record_set(text: str, results: Path) -> RecordSet:
    return load(text, results, lambda: Registry(()))


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, env={**os.environ, **names}
    )


def metric(records: tuple[Record, ...]) -> float | None:
    (found,) = records
    return found.metrics["f1"].value


def test_records_come_from_a_folder_a_suite_or_its_file(results: Path, tmp_path: Path) -> None:
    file = tmp_path / "any.yaml"
    file.write_text("suite: s\ntolerances: {f1: 0.02, images_per_second: 0}\n")
    for text in (str(results / "s"), "s", str(file)):
        assert metric(load_record_set(text, results).records) == 0.5
    assert load_record_set("s", results).tolerances is None
    assert load_record_set(str(file), results).tolerances == {"f1": 0.02, "images_per_second": 0.0}


def test_records_come_from_a_baseline(results: Path, tmp_path: Path) -> None:
    (path,) = save_baselines([RECORD], {"f1": 0.1}, tmp_path)
    side = load_record_set(str(path), results)
    assert (metric(side.records), side.tolerances) == (0.5, {"f1": 0.1})


def test_records_come_from_a_git_revision(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_baselines([RECORD], {"f1": 0.1}, tmp_path / "old.json")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    Store(results, "s").put(replace(RECORD, metrics={"f1": Estimate(0.25)}))
    (tmp_path / "old.json").unlink()
    monkeypatch.chdir(tmp_path)
    for inside in ("results/s", "./results/s/", "old.json"):
        assert metric(load_record_set(f"HEAD:{inside}", results).records) == 0.5
    assert metric(load_record_set("results/s", results).records) == 0.25
    monkeypatch.chdir(results)
    for inside in ("results/s", "./s", "../old.json"):
        assert metric(load_record_set(f"HEAD:{inside}", results).records) == 0.5
    assert metric(load_record_set("HEAD@{2100-01-01 12:00}:results/s", results).records) == 0.5
    for text, reason in (
        ("HEAD:results", "no records in it; name one of its folders: s$"),
        ("HEAD:nowhere", "git cannot read it .*nowhere"),
        ("nowhere:s", "git cannot read it .*nowhere"),
        ("--output=x:s", "is not a revision"),
    ):
        with pytest.raises(StoreError, match=reason):
            load_record_set(text, results)


def test_missing_records_are_named_in_one_line(results: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^nowhere: not found; expected a folder of records"):
        load_record_set("nowhere", results)
    with pytest.raises(StoreError, match=r"no records in it; name one of its folders: s$"):
        load_record_set(str(results), results)
    save_baselines([RECORD], {}, tmp_path / "baselines")
    with pytest.raises(StoreError, match=r"no records in it; name one of its files: s\.x\.2-cores\.json$"):
        load_record_set(str(tmp_path / "baselines"), results)
    with pytest.raises(MlbenchError, match=r"nowhere\.yaml"):
        load_record_set("nowhere.yaml", results)


def test_a_folder_of_damaged_records_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StoreError, match=r"no records in it that can be read \(.*bad\.json: cannot be read"):
        load_record_set(str(tmp_path), tmp_path)


def test_remarks_of_the_store_are_kept(results: Path) -> None:
    (results / "s" / "bad.json").write_text("{")
    unread, newest = load_record_set("s", results).remarks
    assert "bad.json: cannot be read" in unread
    assert newest.startswith("s: the newest records with the same conditions")

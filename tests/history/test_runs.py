from __future__ import annotations

from dataclasses import replace

from made_records import HERE, record
from made_runs import commit, made

from mlbench.history.runs import moment, runs_of


def test_a_run_has_each_seed_of_a_revision_once() -> None:
    records = [made(2, 0), made(1, 1), made(1, 0)]
    runs = runs_of(records)
    assert [[each.seed for each in run.records] for run in runs] == [[0, 1], [0]]
    assert [run.label for run in runs] == [commit(1)[:10], commit(2)[:10]]


def test_a_seed_that_comes_again_begins_a_run() -> None:
    first = [record(seed, finished=f"2026-01-01T10:0{seed}:00") for seed in (0, 1)]
    again = [record(seed, finished=f"2026-01-02T10:0{seed}:00") for seed in (0, 1)]
    runs = runs_of([*again, *first])
    assert [run.finished for run in runs] == ["2026-01-01T10:01:00Z", "2026-01-02T10:01:00Z"]
    assert [len(run.records) for run in runs] == [2, 2]


def test_other_settings_conditions_and_machines_are_other_runs() -> None:
    base = record(0, finished="2026-01-01")
    others = [
        replace(base, seed=1, settings={"image": {"size": 8}}),
        replace(base, seed=2, conditions={"core": "x"}),
        replace(base, seed=3, environment={**HERE, "cpu": "y"}),
        replace(base, seed=4),
    ]
    assert sorted(len(run.records) for run in runs_of([base, *others])) == [1, 1, 1, 2]


def test_runs_are_in_the_order_of_commits_when_asked() -> None:
    def at(commit_time: str, finished: str):
        revision = {"commit": finished, "time": commit_time}
        return record(0, finished=finished, environment={**HERE, "revision": revision})

    records = [at("2026-01-02T00:00:00+01:00", "2026-03-01"), at("2026-01-01T00:00:00Z", "2026-03-02")]
    assert [run.finished[:10] for run in runs_of(records)] == ["2026-03-01", "2026-03-02"]
    placed = runs_of(records, by_commit=True)
    assert [run.finished[:10] for run in placed] == ["2026-03-02", "2026-03-01"]
    assert [run.at for run in placed] == ["2026-01-01T00:00:00Z", "2026-01-01T23:00:00Z"]


def test_files_changed_since_the_commit_are_marked() -> None:
    revision = {"commit": "a" * 40, "changed": True}
    (run,) = runs_of([record(0, finished="2026-01-01", environment={**HERE, "revision": revision})])
    assert run.label == "aaaaaaaaaa+"
    assert run.machine == "x, 2 cores"


def test_times_without_a_zone_are_of_utc() -> None:
    assert moment("2026-01-01T10:00:00") == moment("2026-01-01T12:00:00+02:00")

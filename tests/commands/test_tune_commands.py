from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made_tuning import TUNE

from mlbench.records.store import Store
from mlbench.tuning.study import newest_study

Write = Callable[..., Path]

QUICK = TUNE.replace("repeats: 2", "repeats: 0\n  trials: 2")


def test_tune_runs_and_reports_and_show_reports_the_same(run: Callable[..., Result], write: Write) -> None:
    suite = write(QUICK)
    ran = run("tune", suite, "--device", "cpu")
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == [
        "[1/2] base+t000 seed 0",
        "[2/2] base+t001 seed 0",
    ]
    assert ran.stdout.startswith("Tuning of toy, case base: f1 of the calibration split decides\nprotocol: ")
    assert "\nSpread over 2 trials\n" in ran.stdout
    assert "\nwinner: base+t00" in ran.stdout
    assert run("tune", "show", suite, "--device", "cpu").stdout == ran.stdout
    assert run("tune", "show", "toy").stdout == ran.stdout
    assert run("tune", "show", "toy+tune").stdout == ran.stdout
    other = run("tune", "show", suite, "--device", "cpu", "--limit", "9", code=1)
    assert other.stderr.rstrip().endswith("those that are there: mlbench tune show toy")
    assert run("tune", "run", suite, "--device", "cpu").stdout == ran.stdout
    found = json.loads(run("tune", "show", suite, "--device", "cpu", "--json").stdout)
    assert len(found["trials"]) == 2
    more = json.loads(run("tune", "--trials", 3, suite, "--device", "cpu", "--json").stdout)
    assert len(more["trials"]) == 3
    assert "base+t002" in run("results", "toy+tune").stdout
    assert run("results", "toy", code=1).stderr.startswith(
        "mlbench: no records of the suite 'toy' in results"
    )


def test_tune_without_a_finished_trial_ends_with_1(run: Callable[..., Result], write: Write) -> None:
    ran = run("tune", write(QUICK), "--timeout", 0, "--device", "cpu", code=1)
    assert ran.stdout.endswith("no trial is done\n")


def test_tune_show_without_trials_says_how_to_make_some(run: Callable[..., Result], write: Write) -> None:
    suite = write(QUICK)
    wanted = "mlbench: no trials of the suite 'toy' in results; make some with: mlbench tune toy.yaml\n"
    assert run("tune", "show", suite, "--device", "cpu", code=1).stderr == wanted.replace(
        "toy.yaml", str(suite)
    )
    assert run("tune", "show", "toy", code=1).stderr == wanted.replace("toy.yaml", "SUITE.yaml")
    assert "are chosen from a suite file" in run("tune", "show", "toy", "--set", "a=1", code=2).stderr


def test_a_mistake_in_the_section_is_found_by_tune_and_by_validate(
    run: Callable[..., Result], write: Write
) -> None:
    suite = write(QUICK.replace("loss.margin", "loss.margn"))
    expected = f"mlbench: {suite}:18: tune.space.loss.margn.low: unknown key 'margn' (did you mean 'margin'?)"
    for command in ("tune", "validate"):
        assert run(command, suite, "--device", "cpu", code=2).stderr.startswith(expected)
    assert run("validate", write(QUICK)).stdout.endswith("fine; cases: 1, runs: 1\n")


def test_ctrl_c_says_that_trials_are_kept(
    run: Callable[..., Result], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    suite = write(QUICK)
    monkeypatch.setattr("mlbench.tuning.search.run_case", stop)
    stopped = run("tune", suite, "--device", "cpu", code=130)
    told = "mlbench: stopped; finished trials are kept, and the same command continues from there"
    assert stopped.stderr.splitlines()[-1] == told
    monkeypatch.undo()


SPACE = """\
tune:
  objective: f1
  repeats: 0
  pruning: false
  space:
    recipe.lr: {low: 1e-3, high: 1e-1, log: true}
    loss: {choices: [{name: killing, flag: /nonexistent}, {name: killing, flag: FLAG}]}
"""


@pytest.mark.slow
def test_a_killed_tuning_is_finished_by_two_processes(
    write: Write, tmp_path: Path, installed_toys: dict[str, str]
) -> None:
    """A process kills itself with SIGKILL in the middle of the first trial that has the deadly choice. Two
    others then share the rest with the trial that it has left."""
    flag = tmp_path / "flag"
    flag.touch()
    suite = write(SPACE.replace("FLAG", str(flag)))
    folder = tmp_path / "results"
    command = [
        sys.executable,
        "-m",
        "mlbench",
        "tune",
        str(suite),
        "--results",
        str(folder),
        "--device",
        "cpu",
    ]
    command += ["--trials", "12", "--json", "--set", "evaluation.resamples=0"]
    killed = subprocess.run(command, env=installed_toys, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    study = newest_study(folder / "toy+tune")
    assert study is not None
    states = [trial.state for trial in study.trials()]
    assert states[-1] == "running"
    assert set(states[:-1]) <= {"done"}
    flag.unlink()
    both = [
        subprocess.Popen(
            command, env=installed_toys, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    trials = study.trials()
    assert [(trial.number, trial.state) for trial in trials] == [(number, "done") for number in range(12)]
    # Every trial was run once, apart from the one that was killed.
    starts = [line.split()[1] for _, errors in ended for line in errors.splitlines() if line.startswith("[")]
    assert sorted(starts) == [f"base+t{number:03}" for number in range(len(states) - 1, 12)]
    store = Store(folder, "toy+tune")
    assert all(store.get(trial.records[0]).status == "done" for trial in trials)
    assert not list((folder / "toy+tune" / "locks").glob("*-t*"))

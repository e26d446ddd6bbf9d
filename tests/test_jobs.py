from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from squares import squared
from test_runner import Ears, timeless

from mlbench import runner
from mlbench.commands.places import places
from mlbench.environment import Device
from mlbench.errors import StoreError
from mlbench.jobs import Ended, Jobs
from mlbench.records.store import Store


def test_every_item_is_worked_on_by_the_devices_and_a_killed_process_ends_its_own_alone() -> None:
    told: list[list[int]] = []
    unsendable = lambda: None  # noqa: E731
    items = [1, 2, -1, 3, unsendable, 4]
    with Jobs(squared, ["a", "b"]) as jobs:
        ended = {str(end.item): end for end in jobs.run(items, lambda now: told.append(list(now)))}
    assert ended.keys() == set(map(str, items))
    for item in (1, 2, 3, 4):
        end = ended[str(item)]
        assert end.result in ((item**2, "a"), (item**2, "b"))
        assert end.events == [("started", item)]
    killed = ended["-1"]
    assert killed == Ended(-1, reason=killed.reason, events=[("started", -1)])
    assert killed.reason == "its process was killed by signal 9 (out of memory?)"
    assert "cannot be sent to another process" in ended[str(unsendable)].reason
    assert told[0] == [1, 2]
    assert max(map(len, told)) == 2


def test_an_error_for_all_jobs_comes_with_its_item() -> None:
    with Jobs(squared, ["a"]) as jobs:
        (end,) = jobs.run([-2], lambda now: None)
    assert isinstance(end.error, StoreError)


def test_processes_end_with_a_parent_that_is_killed(tmp_path) -> None:
    """The process of the test reads the child's output to its end, which comes with the child's."""
    code = """
import sys
from mlbench.jobs import Jobs
from squares import squared
list(Jobs(squared, sys.argv[1:]).run([-3], print))
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "child")],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "child").exists()


SUITE = """\
matrix:
  recipe.lr: [0.001, 0.01]
seeds: [0, 1]
"""


@pytest.mark.slow
def test_cases_trained_at_once_have_the_records_of_cases_trained_in_turn(
    write, tmp_path, installed_toys
) -> None:
    suite = write(SUITE)

    def records(folder: str, *options: str) -> tuple[list[dict], str]:
        command = [sys.executable, "-m", "mlbench", "run", str(suite), "--device", "cpu", "--no-measure"]
        process = subprocess.run(
            [*command, "--results", str(tmp_path / folder), "--json", *options],
            env={**installed_toys, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return sorted(map(timeless, json.loads(process.stdout)), key=str), process.stderr

    at_once, told = records("at once", "--jobs", "2")
    assert at_once == records("in turn")[0]
    assert len(at_once) == 4
    assert [line[:5] for line in told.splitlines() if line.startswith("[")] == [
        f"[{at}/4]" for at in range(1, 5)
    ]


def test_a_case_whose_process_is_killed_fails_and_the_others_go_on(planned, tmp_path, monkeypatch) -> None:
    plan = planned("cases:\n  fine: {}\n  deadly: {loss: {name: killing}}\n")
    ears, store = Ears(), Store(tmp_path, "toy")
    found = runner.run(plan, store, ears, measuring=False, devices=("cpu", "cpu"))
    fine, failed = found
    assert [fine.status, failed.status] == ["done", "failed"]
    assert failed.error == "its process was killed by signal 9 (out of memory?)"
    assert {record.key for record in store.read()[0]} == {record.key for record in found}
    assert len(ears.cases) == len(found) == 2
    assert all(stage.startswith(("checking", "training", "finished")) for stage in ears.stages)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cpu", "cpu", None), "contradict"),
        (("auto", ",", None), "expected names of devices"),
    ],
)
def test_mistakes_in_the_choice_of_devices(arguments, words) -> None:
    with pytest.raises(Exception, match=words):
        places(*arguments, print)


def test_threads_are_shared_out_and_devices_of_one_product_take_turns(monkeypatch) -> None:
    gpus = {f"cuda:{at}": Device(f"cuda:{at}", "card") for at in range(2)} | {
        "cuda:2": Device("cuda:2", "other")
    }
    monkeypatch.setattr(
        "mlbench.commands.places.find_device", lambda name: gpus.get(name, Device("cpu", "x"))
    )
    monkeypatch.setattr("mlbench.commands.places.threads", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    notes: list[str] = []
    assert places("auto", "cuda:0,cuda:1", None, notes.append) == ("cuda:0", ("cuda:0", "cuda:1"))
    assert places("auto", "cuda:0,cuda:1", 3, notes.append)[1] == ("cuda:0", "cuda:1", "cuda:0")
    assert places("cpu", None, None, notes.append) == ("cpu", ())
    assert "OMP_NUM_THREADS" not in os.environ
    assert not notes
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert places("cpu", None, 2, notes.append) == ("cpu", ("cpu", "cpu"))
    assert not notes
    monkeypatch.delenv("OMP_NUM_THREADS")
    places("cpu", None, 2, notes.append)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert notes == ["2 threads for each of 2 jobs; set OMP_NUM_THREADS for another number"]
    for names, jobs, words in (("cuda:0,cuda:2", None, "different products"), ("cuda:0,cuda:1", 1, "idle")):
        with pytest.raises(Exception, match=words):
            places("auto", names, jobs, notes.append)

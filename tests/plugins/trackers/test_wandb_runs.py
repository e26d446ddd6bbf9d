"""Offline runs are read back from the files that W&B sends later."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS, TOY_SUITE, install_plugin, mlbench
from tracked_runs import expected, tracked_run

from mlbench.contracts.options import TrackerContext
from mlbench.errors import TrackerError
from mlbench.registry import Registry
from mlbench_trackers import wandb_runs

pytest.importorskip("wandb")

#: A log of LevelDB after a header of 7 bytes: blocks with fragments of records.
_HEADER, _BLOCK = 7, 32768


@pytest.fixture(autouse=True)
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    for name in [each for each in os.environ if each.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    changed = {name: os.environ.get(name) for name in os.environ.keys() | before.keys()}
    assert {name for name, value in changed.items() if before.get(name) != value} <= {"PYTEST_CURRENT_TEST"}


def records_of(path: Path) -> Iterator[Any]:
    """The records of a .wandb file, as W&B's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, whole = _HEADER, b""
    while place + 7 <= len(data):
        if _BLOCK - place % _BLOCK < 7:
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if kind == 0:
            break
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last fragment
            yield Record.FromString(whole)
            whole = b""


def read_back(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs by name: configuration, history, summary and exit code."""
    runs: dict[str, dict[str, Any]] = {}
    for path in folder.glob("offline-run-*/*.wandb"):
        run: dict[str, Any] = {"config": {}, "history": [], "summary": {}}
        for record in records_of(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run |= {"name": record.run.display_name, "group": record.run.run_group}
                run["config"] |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            elif kind == "history":
                items = {each.key or "/".join(each.nested_key): each for each in record.history.item}
                run["history"].append({key: json.loads(each.value_json) for key, each in items.items()})
            elif kind == "summary":
                run["summary"] |= {
                    each.key or "/".join(each.nested_key): json.loads(each.value_json)
                    for each in record.summary.update
                }
            elif kind == "exit":
                run["exit"] = record.exit.exit_code
        runs[run["name"]] = run
    return runs


OFFLINE = "{name: wandb, mode: offline}"


def test_a_run_is_read_back(monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path) -> None:
    good, bad = tracked_run(monkeypatch, registry, tmp_path, OFFLINE)
    runs = read_back(tmp_path / "results" / "toy" / "wandb")
    assert {name: run["exit"] for name, run in runs.items()} == {"good s0": 0, "bad s0": 1}
    run = runs["good s0"]
    assert run["group"] == "toy"
    assert run["config"]["neck"] == good.settings["neck"]
    assert run["config"]["mlbench"]["fingerprint"] == good.fingerprint
    losses = [(row["_step"], row["training/loss"]) for row in run["history"]]
    assert losses == list(enumerate(good.training["curves"]["loss"], 1))
    told = {name: value for name, value in expected(good).items() if not name.startswith("training/")}
    assert {name: run["summary"][name] for name in told} == pytest.approx(told)
    assert runs["bad s0"]["summary"]["error"] == bad.error
    assert [each.name for each in threading.enumerate() if "Otel" in each.name] == []


@pytest.mark.slow
def test_a_stopped_run_is_marked(monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tracked_run(monkeypatch, registry, tmp_path, OFFLINE, stop_after=2)
    (run,) = read_back(tmp_path / "results" / "toy" / "wandb").values()
    assert (run["exit"], len(run["history"])) == (255, 1)


@pytest.mark.slow
def test_of_many_runs_the_first_are_closed_early(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path
) -> None:
    monkeypatch.setattr(wandb_runs, "_MOST_OPEN", 0)
    good, _ = tracked_run(monkeypatch, registry, tmp_path, OFFLINE)
    run = read_back(tmp_path / "results" / "toy" / "wandb")["good s0"]
    assert run["exit"] == 0
    assert run["summary"]["metrics/f1"] == good.metrics["f1"].value
    assert "speed/images_per_second" not in run["summary"]


def test_without_a_key_nothing_asks_for_one(registry: Registry, tmp_path: Path) -> None:
    options = registry.get("tracker", "wandb").make({})
    with pytest.raises(TrackerError, match=r"no key for the W&B server; set WANDB_API_KEY, .* mode: offline"):
        options.build(TrackerContext("toy", "", tmp_path))


@pytest.mark.slow
def test_the_command_line_stays_clean_and_leaves_no_process(tmp_path: Path) -> None:
    environment = install_plugin(tmp_path / "site", "toys", TESTS, *map(Path, sys.path))
    (tmp_path / "toy.yaml").write_text(TOY_SUITE + f"track: {OFFLINE}\n")
    options = ("--results", tmp_path / "results", "--no-measure", "--device", "cpu", "--json")
    done = mlbench("run", tmp_path / "toy.yaml", *options, env=environment)
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in json.loads(done.stdout)] == ["done"]
    assert "wandb" not in done.stderr
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in shown
    assert len(read_back(tmp_path / "results" / "toy" / "wandb")) == 1

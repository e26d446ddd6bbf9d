from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from conftest import TOY_SUITE
from stub_measuring import stub_measuring

from mlbench import runner, tracking
from mlbench.contracts import Component, FinishedRun, TrackedCase
from mlbench.contracts.options import TrackerOptions
from mlbench.environment import Device
from mlbench.errors import StoreError, TrackerError
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import Plan, make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin
from mlbench.records.record import Record, Timing
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.tracking import Tracking

EVENTS: list[tuple[str, Any]] = []
RELEASED = threading.Event()


class EarsOptions(TrackerOptions):
    """Remembers what it hears in EVENTS."""

    def build(self, context: Any) -> Any:
        EVENTS.append(("build", context))
        return Ears()


class Ears:
    def case_started(self, case: TrackedCase, position: int, total: int) -> None:
        EVENTS.append(("case_started", (case, position, total)))

    def epoch(self, case: TrackedCase, epoch: int, values: dict[str, float]) -> None:
        EVENTS.append(("epoch", (case, epoch, values)))

    def case_finished(self, record: dict[str, Any]) -> None:
        EVENTS.append(("case_finished", record))

    def run_finished(self, run: FinishedRun) -> None:
        EVENTS.append(("run_finished", run))


class RudeOptions(TrackerOptions):
    """Does at an event what a tracker must not do."""

    at: str = ""
    how: str = "raises"

    def build(self, context: Any) -> Any:
        self.act("build")
        return self

    def act(self, event: str) -> None:
        EVENTS.append((event, None))
        if self.at not in (event, "all"):
            return
        if self.how == "raises":
            raise RuntimeError(f"no {event}\nat all")
        if self.how == "hangs":
            RELEASED.wait()
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "refuses":
            raise TrackerError("tracker 'rude' needs a library; install it")
        if self.how == "disturbs":
            print("rude words")
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002
            torch.manual_seed(0)
            torch.rand(3)

    def case_started(self, case: Any, position: int, total: int) -> None:
        self.act("case_started")
        case.settings.clear()

    def epoch(self, case: Any, epoch: int, values: Any) -> None:
        self.act("epoch")
        values.clear()

    def case_finished(self, record: Any) -> None:
        self.act("case_finished")
        record["training"]["curves"].clear()
        record["metrics"].clear()

    def run_finished(self, run: Any) -> None:
        self.act("run_finished")


class OneEventOptions(TrackerOptions):
    """Has one method alone."""

    def build(self, context: Any) -> Any:
        return self

    def case_finished(self, record: dict[str, Any]) -> None:
        EVENTS.append(("case_finished", record["status"]))


PLUGIN = Plugin(
    "acme",
    "acme",
    "acme-trackers",
    "1.2",
    tuple(
        Component("tracker", name, f"test_tracking:{options}", "for the tests")
        for name, options in (("ears", "EarsOptions"), ("rude", "RudeOptions"), ("one", "OneEventOptions"))
    ),
)


class Lines:
    """A listener that remembers notes. stop_at: the event with which Ctrl-C, or an error, comes."""

    def __init__(self, stop_at: str = "", error: BaseException | None = None) -> None:
        self.notes: list[str] = []
        self.epochs: list[int] = []
        self._stop_at = stop_at
        self._error = error or KeyboardInterrupt()

    def case(self, *arguments: Any) -> None:
        self._stop("case")

    def stage(self, what: str, done: int, total: int) -> None:
        self._stop("stage" if what.startswith("training") else "")

    def epoch(self, case: Any, epoch: int, values: Any) -> None:
        self.epochs.append(epoch)
        self._stop("epoch")

    def finished(self, record: Record) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _stop(self, event: str) -> None:
        if event == self._stop_at != "":
            raise self._error


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    EVENTS.clear()
    RELEASED.clear()
    speed = {"images_per_second": Timing(100.0, (100.0,), "images/s")}
    stub_measuring(monkeypatch, Measurement(speed, measured={"batch_size": 32}))
    yield
    RELEASED.set()


Planned = Callable[..., Plan]


@pytest.fixture
def planned(write: Callable[..., Path], registry: Registry) -> Planned:
    def planned(more: str = "", track: tuple[str, ...] = (), overrides: tuple[str, ...] = ()) -> Plan:
        known = Registry((*registry.plugins, PLUGIN))
        overrides = ("evaluation.resamples=10", *overrides)
        suite = load_suite(write(more), known, overrides=overrides, track=track)
        return make_plan(suite, Device("cpu", "test"))

    return planned


def tracked(plan: Plan, folder: Path, lines: Lines | None = None, **options: Any) -> list[Record]:
    store, lines = Store(folder, "toy"), lines or Lines()
    with Tracking(plan.suite.trackers, plan, store.folder, lines, lines.note) as listener:
        records = runner.run(plan, store, listener, **options)
        listener.finish(records, list)
    return records


def timeless(record: Record) -> dict[str, Any]:
    """A record without what may differ between two runs that did the same."""
    plain = record.plain()
    for key in ("seconds", "finished", "environment"):
        plain.pop(key)
    plain["training"].pop("waited_seconds")
    return plain


def test_a_tracker_hears_the_whole_run(planned: Planned, tmp_path: Path) -> None:
    plan = planned(
        "matrix:\n  neck.name: [gap, flatten]\ntrack: ears\n", overrides=("recipe.evaluate_every=2",)
    )
    gap, flatten = tracked(plan, tmp_path)
    names = [name for name, _ in EVENTS]
    case = ["case_started", "epoch", "epoch", "case_finished"]
    assert names == ["build", *case, *case, "run_finished"]
    assert EVENTS[0][1].folder == tmp_path / "toy"
    started, position, total = EVENTS[1][1]
    assert (started.name, started.seed, started.epochs, position, total) == ("gap", 0, 2, 1, 2)
    assert started.settings == gap.settings
    assert started.axes == {"neck.name": "gap"}
    curves = gap.training["curves"]
    for epoch in (1, 2):
        _, number, values = EVENTS[1 + epoch][1]
        assert number == epoch
        for name in ("loss", "loss_deviation", "lr"):
            assert values[name] == curves[name][epoch - 1]
        assert values["images_per_second"] * values["seconds"] == pytest.approx(24)
        # It is evaluated after the second epoch alone.
        assert values.get("calibration_f1") == (None, *curves["calibration_f1"])[epoch - 1]
    finished = EVENTS[4][1]
    assert (finished["status"], finished["speed"]) == ("done", {})
    assert finished["metrics"] == gap.plain()["metrics"]
    run = EVENTS[-1][1]
    assert (run.status, list(run.records)) == ("finished", [gap.plain(), flatten.plain()])
    assert run.records[0]["speed"]["images_per_second"]["value"] == 100.0
    stored = json.loads((tmp_path / "toy" / f"{gap.key}.json").read_text())
    assert json.loads(json.dumps(run.records[0])) == stored


def test_parts_of_the_loss_are_values_of_an_epoch(planned: Planned, tmp_path: Path) -> None:
    losses = "losses={cosface: {scale: 16, margin: 0.1}, pml: {loss: TripletMarginLoss}}"
    tracked(planned("track: ears\n", overrides=("loss=null", losses)), tmp_path)
    values = next(given[2] for name, given in EVENTS if name == "epoch")
    assert {"loss", "loss cosface", "loss pml"} <= values.keys()


@pytest.mark.parametrize("how", ["raises", "disturbs"])
def test_records_are_the_same_with_and_without_trackers(planned: Planned, tmp_path: Path, how: str) -> None:
    (alone,) = runner.run(planned(), Store(tmp_path / "alone", "toy"), Lines())
    plan = planned(f"track: [ears, {{name: rude, at: all, how: {how}}}]\n")
    (record,) = tracked(plan, tmp_path / "tracked")
    assert timeless(record) == timeless(alone)
    assert plan.cases[0].key == planned().cases[0].key
    # A change of trackers leaves the record what it is.
    store = Store(tmp_path / "tracked", "toy")
    assert store.latest() == ([record], [])
    assert runner.run(planned(), store, Lines()) == [record]


@pytest.mark.parametrize(
    ("event", "how"),
    [
        ("build", "raises"),
        ("case_started", "raises"),
        ("epoch", "raises"),
        ("epoch", "exits"),
        ("case_finished", "raises"),
        ("run_finished", "raises"),
    ],
)
def test_a_tracker_that_fails_costs_a_note(planned: Planned, tmp_path: Path, event: str, how: str) -> None:
    lines = Lines()
    plan = planned(f"track: [{{name: rude, at: {event}, how: {how}}}, one]\n")
    (record,) = tracked(plan, tmp_path, lines)
    assert record.status == "done"
    (note,) = lines.notes
    error = f"RuntimeError: no {event}" if how == "raises" else "SystemExit: 3"
    assert note.startswith(
        f"tracker 'rude' of plugin 'acme' (acme-trackers 1.2): {event}() failed: {error}; "
        "raised in RudeOptions.act at test_tracking.py:"
    )
    assert note.endswith("; it is off for the rest of the run, which goes on")
    heard = [name for name, given in EVENTS if given is None]
    assert heard.count(event) == 1
    assert heard[-1] == event
    assert [given for name, given in EVENTS if given is not None] == ["done"]


@pytest.mark.parametrize("event", ["build", "run_finished"])
def test_a_tracker_that_hangs_is_left(
    planned: Planned, tmp_path: Path, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    lines = Lines()
    (record,) = tracked(planned(f"track: {{name: rude, at: {event}, how: hangs}}\n"), tmp_path, lines)
    assert record.status == "done"
    (note,) = lines.notes
    assert f": {event}() takes longer than 0.2 s; it is off" in note


def test_a_tracker_that_refuses_ends_the_run_before_it_starts(planned: Planned, tmp_path: Path) -> None:
    lines = Lines()
    plan = planned("track: [ears, {name: rude, at: build, how: refuses}]\n")
    with pytest.raises(TrackerError) as caught:
        tracked(plan, tmp_path / "results", lines)
    assert str(caught.value) == (f"{plan.suite.path}:13: track.1: tracker 'rude' needs a library; install it")
    assert lines.notes == []
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("stop_at", "error", "status"),
    [
        ("case", KeyboardInterrupt(), "interrupted"),
        ("stage", KeyboardInterrupt(), "interrupted"),
        ("epoch", StoreError("a disk is full"), "failed"),
    ],
)
def test_trackers_learn_that_a_run_stops(
    planned: Planned, tmp_path: Path, stop_at: str, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)):
        tracked(planned("track: ears\n"), tmp_path, Lines(stop_at, error))
    name, run = EVENTS[-1]
    assert (name, run.status, run.claims) == ("run_finished", status, ())
    assert list(run.records) == []
    assert [name for name, _ in EVENTS].count("run_finished") == 1


def test_trackers_get_the_records_until_a_run_stops(planned: Planned, tmp_path: Path) -> None:
    class Second(Lines):
        def case(self, case: Any, position: int, *more: Any) -> None:
            if position == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracked(planned("seeds: [0, 1]\ntrack: ears\n"), tmp_path, Second())
    run = EVENTS[-1][1]
    assert [(record["seed"], record["status"]) for record in run.records] == [(0, "done")]


def test_a_case_that_fails_is_tracked_with_its_error(planned: Planned, tmp_path: Path) -> None:
    plan = planned("track: ears\n", overrides=("recipe.lr=1e30",))
    (record,) = tracked(plan, tmp_path)
    assert record.status == "failed"
    found = next(given for name, given in EVENTS if name == "case_finished")
    assert (found["status"], found["error"]) == ("failed", record.error)
    assert EVENTS[-1][1].records[0]["error"] == record.error


def test_a_finished_case_is_not_tracked_again(planned: Planned, tmp_path: Path) -> None:
    (first,) = runner.run(planned(), Store(tmp_path, "toy"), Lines())
    records = tracked(planned("seeds: [0, 1]\ntrack: ears\n"), tmp_path)
    started = [given[0].seed for name, given in EVENTS if name == "case_started"]
    assert started == [1]
    assert EVENTS[-1][1].records == (first.plain(), records[1].plain())


def test_claims_come_at_the_end(planned: Planned, tmp_path: Path) -> None:
    claim = (
        "claims: {much: {name: better, sentence: So., case: a, than: b, metric: f1, differ: [loss.margin]}}"
    )
    plan = planned(f"track: ears\ncases: {{a: {{}}, b: {{loss.margin: 0.2}}}}\n{claim}\n")
    store, lines = Store(tmp_path, "toy"), Lines()
    from mlbench.claims.suite_claims import claims_of_store

    with Tracking(plan.suite.trackers, plan, store.folder, lines, lines.note) as listener:
        records = runner.run(plan, store, listener, measuring=False)
        listener.finish(records, lambda: claims_of_store(plan, store))
    (found,) = EVENTS[-1][1].claims
    assert (found["id"], found["sentence"], found["verdict"]) == ("much", "So.", "inconclusive")


CLI_PLUGIN = '''
import json, os
from pathlib import Path

from mlbench.plugin import Component, Tracker, TrackerError, TrackerOptions, hookimpl

class Loud(TrackerOptions):
    """Prints."""

    refuse: bool = False

    def build(self, context):
        if self.refuse:
            raise TrackerError("tracker 'loud' needs a voice")
        print("built", context.suite)
        return Told(context.folder)

class Told(Tracker):
    def __init__(self, folder):
        self.folder = folder

    def epoch(self, case, epoch, values):
        print("epoch", epoch)

    def run_finished(self, run):
        (self.folder / "told.txt").write_text(f"{run.status} {len(run.records)}")

@hookimpl
def mlbench_components():
    return [Component("tracker", "loud", "acme_loud:Loud", "prints what it hears")]
'''


@pytest.fixture
def loud(run: Callable[..., Result], third_party: Callable[..., object]) -> Callable[..., Result]:
    """The command line with the tracker of a third party, beside a suite toy.yaml."""
    third_party("acme_loud", CLI_PLUGIN)
    Path("toy.yaml").write_text(TOY_SUITE + "track: loud\n")
    return run


OPTIONS = ("--device", "cpu", "--no-measure")


def test_the_command_line_tracks(loud: Callable[..., Result]) -> None:
    shown = loud("run", "toy.yaml", "--json", *OPTIONS)
    assert [record["status"] for record in json.loads(shown.stdout)] == ["done"]
    assert "built toy" in shown.stderr
    assert Path("results/toy/told.txt").read_text() == "finished 1"
    assert "nothing" not in loud("results", "toy", "--json").stderr


def test_none_leaves_the_suites_trackers_out(loud: Callable[..., Result]) -> None:
    loud("run", "toy.yaml", "--track", "none", *OPTIONS)
    assert not Path("results/toy/told.txt").exists()


def test_the_command_line_refuses_before_training(loud: Callable[..., Result]) -> None:
    shown = loud("run", "toy.yaml", "--track", "{name: loud, refuse: true}", *OPTIONS, code=1)
    assert shown.stderr.splitlines()[-1] == (
        "mlbench: --track {name: loud, refuse: true}: tracker 'loud' needs a voice"
    )
    shown = loud("run", "toy.yaml", "--track", "lout", *OPTIONS, code=2)
    assert (
        shown.stderr.splitlines()[-1]
        == "mlbench: --track lout: unknown tracker 'lout' (did you mean 'loud'?)"
    )
    assert not os.path.exists("results")

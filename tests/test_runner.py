from __future__ import annotations

import errno
import importlib
import json
import os
import random
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from conftest import TOY_SUITE, full_disk, mlbench
from stub_measuring import stub_measuring

from mlbench import case_record, runner
from mlbench.contracts import BackboneShape, Component
from mlbench.contracts.options import BackboneOptions
from mlbench.environment import Device
from mlbench.errors import StoreError, SuiteError
from mlbench.evaluation.calibration import calibrate
from mlbench.evaluation.details import DETAILS, read_details
from mlbench.evaluation.engine import verification_curve
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.plugins import Plugin
from mlbench.records.record import Record, Timing
from mlbench.records.report import results_markdown
from mlbench.records.store import UNFINISHED, Store
from mlbench.registry import Entry, Registry
from mlbench.training import case_evaluation, checkpoint_score
from mlbench.training.model import build_model


class Ears:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.cases: list[str] = []
        self.stages: list[str] = []
        self.epochs: list[tuple[str, int, dict[str, float]]] = []
        self.records: list[Record] = []

    def case(self, case, position: int, total: int, left: str) -> None:
        self.cases.append(f"{case.name} {case.seed} {position}/{total}")

    def stage(self, what: str, done: int, total: int) -> None:
        assert done <= total
        if self.stages[-1:] != [what]:
            self.stages.append(what)

    def epoch(self, case, epoch: int, values) -> None:
        self.epochs.append((case.name, epoch, dict(values)))

    def finished(self, record: Record) -> None:
        self.records.append(record)
        self.stages.append("finished")


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch) -> None:
    """Speed is measured in a process of its own, which takes seconds; another test does it for real."""
    stub_measuring(monkeypatch, measured(100.0))


def measured(images_per_second: float | None, note: str = "") -> Measurement:
    rounds = () if images_per_second is None else (images_per_second,)
    speed = {"images_per_second": Timing(images_per_second, rounds, "images/s", note=note)}
    return Measurement(speed, size={"flops": 7}, measured={"batch_size": 32})


def timeless(record: Record | dict) -> dict:
    """A record without what may differ between two runs that did the same."""
    plain = record.plain() if isinstance(record, Record) else dict(record)
    for key in ("seconds", "finished", "speed", "memory", "measured", "environment"):
        plain.pop(key)
    plain["training"] = {k: v for k, v in plain["training"].items() if k != "waited_seconds"}
    return json.loads(json.dumps(plain))


def test_run_gives_a_full_record_for_every_case_and_seed(planned, tmp_path) -> None:
    plan = planned("seeds: [0, 1]\nmatrix:\n  neck.name: [gap, flatten]\n")
    ears = Ears()
    records = runner.run(plan, Store(tmp_path, "toy"), ears)
    assert ears.cases == ["gap 0 1/4", "gap 1 2/4", "flatten 0 3/4", "flatten 1 4/4"]
    assert [(each.key, each.metrics) for each in records] == [(e.key, e.metrics) for e in ears.records]
    for record, case in zip(records, plan.cases, strict=True):
        assert (record.status, record.error) == ("done", "")
        assert record.key == case.key
        assert set(record.metrics) == set(case.spec.quantities())
        recall, f1 = record.metrics["recall_at_1"], record.metrics["f1"]
        assert recall.low <= recall.value <= recall.high
        assert f1.low <= f1.value <= f1.high
        assert record.metrics["threshold"].value == record.evaluation["threshold"]["distance"]
        assert record.evaluation["intervals"]["resamples"] == 1000
        assert record.evaluation["positive_pairs"] == 6 * 4 * 3
        classes = (tmp_path / "toy" / case.key / "classes.csv").read_text().splitlines()
        assert classes[0].startswith("class,queries,recall_at_1,")
        assert [line.split(",")[:2] for line in classes[1:]] == [[f"test/{label}", "4"] for label in range(6)]
        details = read_details(tmp_path / "toy" / case.key / DETAILS)
        assert details is not None
        assert (details.split, details.gallery, details.images) == ("test", "test", 24)
        assert details.classes.names == tuple(f"test/{label}" for label in range(6))
        assert details.right.mean() == recall.value
        at = details.sweep.distance == details.sweep.fitted
        assert details.sweep.f1[at].tolist() == [f1.value]
        assert record.size["parameters"] > 0
        assert record.size["bytes"] == 4 * record.size["parameters"]
        assert record.size["centres"] == 6 * 8
        assert record.size["centres_bytes"] == 4 * 6 * 8
        assert record.training["steps"] == case.forecast.steps
        assert record.training["loss_variation"] > 0
        assert record.environment["device"] == "cpu"
        assert record.components["neck"]["package"] == "mlbench"
        assert record.data["splits"]["test"] == {"classes": 6, "images": 24}


@pytest.mark.parametrize("labelled", [True, False])
def test_run_judges_the_pairs_that_a_data_set_lists(planned, tmp_path, labelled) -> None:
    plan = planned(overrides=("dataset=toy_pairs", f"dataset.labelled={str(labelled).lower()}"))
    record = runner.run(plan, Store(tmp_path, "toy"), Ears())[0]
    assert (record.status, record.error) == ("done", "")
    measured = {name for name, found in record.metrics.items() if found.value is not None}
    listed = {name for name in measured if name.startswith("pair_list_")}
    accuracy = record.metrics["pair_list_accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert record.evaluation["pair_list"]["folds"] == 2
    assert len(record.evaluation["pair_list"]["thresholds"]) == 2
    classes = tmp_path / "toy" / plan.cases[0].key / "classes.csv"
    if labelled:
        assert {"f1", "recall_at_1", "accuracy"} <= measured
        assert classes.exists()
        assert read_details(classes.with_name(DETAILS)) is not None
    else:
        # Labels that nobody gave must not become numbers. The threshold is fitted on calibration images.
        assert measured == {*listed, "threshold"}
        assert record.metrics["recall_at_1"].note == "not measured: the test images have no labels"
        assert any(note.startswith("test images have no labels") for note in record.notes)
        assert not classes.exists()
        assert record.data["splits"]["test"] == {"classes": None, "images": 24}
    assert Record.from_plain(json.loads(json.dumps(record.plain())), "x") == record
    table = results_markdown([record], "toy")
    assert "| accuracy (pair list) |" in table
    assert f"| {accuracy.value:.3f} |" in table


def test_run_does_not_run_a_finished_case_again(planned, tmp_path) -> None:
    store, plan = Store(tmp_path, "toy"), planned()
    first = runner.run(plan, store, Ears())
    ears = Ears()
    assert runner.run(plan, store, ears) == first
    assert ears.cases == []
    assert runner.run(plan, store, ears, force=True)[0].finished > first[0].finished
    assert len(store.latest()[0]) == 1


def the_files(store: Store, key: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.checkpoints(key).iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_a_renamed_case_is_not_run_again(planned, tmp_path, monkeypatch, links) -> None:
    """Neither where only a label of the matrix has changed."""
    if not links:

        def refused(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refused)
    store = Store(tmp_path, "toy")
    (old,) = runner.run(planned("matrix:\n  neck.dim: {eight: 8}\n"), store, Ears())
    files = the_files(store, old.key)
    plan = planned("cases:\n  better: {neck.dim: 8}\nmatrix: {neck.dim: {two: 2}}\n", cases="better")
    monkeypatch.setattr(runner, "case_record", None)
    ears = Ears()
    (new,) = runner.run(plan, store, ears)
    assert ears.cases == []
    assert (new.case, new.key, dict(new.axes)) == ("better", plan.cases[0].key, dict(plan.cases[0].spec.axes))
    same = {"case": old.case, "axes": old.axes}
    assert replace(new, **same) == old
    assert store.get(new.key) == new
    assert the_files(store, new.key) == files
    assert {"last.pt", "classes.csv", DETAILS} <= files.keys()
    # The suite no longer has the old name; a table by the suite's name would show the case twice.
    assert store.get(old.key) is None
    assert not store.checkpoints(old.key).exists()
    assert store.latest() == ([new], [])
    assert runner.run(plan, store, ears) == [new]


def test_a_record_that_several_cases_take_gives_its_files_to_all(planned, tmp_path) -> None:
    """Cases that differ only in how speed is measured are one experiment."""
    store = Store(tmp_path, "toy")
    (old,) = runner.run(planned("cases: {old: {}}\n"), store, Ears())
    files = the_files(store, old.key)
    new = runner.run(planned("cases: {quick: {}, long: {measure.rounds: 9}}\n"), store, Ears())
    assert [record.case for record in new] == ["quick", "long"]
    assert all(the_files(store, record.key) == files for record in new)
    assert store.get(old.key) is None


def test_a_renamed_axis_is_renamed_in_the_record(planned, tmp_path) -> None:
    store = Store(tmp_path, "toy")
    (old,) = runner.run(planned("matrix:\n  neck.dim: {a: 8}\n"), store, Ears())
    plan = planned("matrix:\n  neck: {a: {name: gap, dim: 8}}\n")
    ears = Ears()
    (new,) = runner.run(plan, store, ears)
    assert ears.cases == []
    assert (new.key, dict(new.axes)) == (old.key, {"neck": "a"})
    assert store.get(new.key) == new


def test_a_failed_case_that_is_renamed_is_run(planned, tmp_path) -> None:
    store = Store(tmp_path, "toy")
    (old,) = runner.run(planned("cases:\n  a: {dataset.broken: 5}\n", cases="a"), store, Ears())
    ears = Ears()
    (new,) = runner.run(planned("cases:\n  b: {dataset.broken: 5}\n", cases="b"), store, ears)
    assert ears.cases == ["b 0 1/1"]
    assert old.status == new.status == "failed"


@pytest.mark.parametrize("force", [True, False])
def test_cases_that_differ_in_how_speed_is_measured_are_trained_once(
    planned, tmp_path, monkeypatch, force
) -> None:
    run: list[str] = []
    experiment = runner.case_record
    monkeypatch.setattr(
        runner, "case_record", lambda case, *more: run.append(case.name) or experiment(case, *more)
    )
    plan = planned("cases:\n  a: {measure.batch_size: 8}\n  b: {measure.batch_size: 9}\n", cases="[ab]")
    records = runner.run(plan, Store(tmp_path, "toy"), Ears(), force=force)
    assert run == ["a"]
    assert [record.case for record in records] == ["a", "b"]
    assert [record.key for record in records] == [case.key for case in plan.cases]
    assert records[0].metrics == records[1].metrics
    assert [record.settings["measure"]["batch_size"] for record in records] == [8, 9]


class Downloading(BackboneOptions):
    """A backbone that gets its weights when it is built."""

    cache: str

    def predict(self, image_size: int) -> BackboneShape:
        file = Path(self.cache)
        return BackboneShape(None, None, file.read_text() if file.exists() else "")

    def build(self, image_size: int) -> object:
        Path(self.cache).write_text("v1")
        return toys.ToyBackboneOptions().build(image_size)


@pytest.mark.parametrize("section", ["backbone", "teacher"])
def test_weights_that_come_while_a_case_runs_are_in_its_fingerprint(
    write, registry, tmp_path, section
) -> None:
    component = Component("backbone", "downloading", "test_runner:Downloading", "downloads weights")
    plugin = Plugin("acme", "acme", "acme", "1", (component,))
    distilled = "  distiller: toy\n" if section == "teacher" else ""
    lines = [line for line in TOY_SUITE.splitlines(keepends=True) if not line.startswith(f"  {section}")]
    text = f"{distilled}  {section}: {{name: downloading, cache: {tmp_path / 'weights'}}}\n"
    path = write(whole="".join(lines) + text)

    def plan():
        suite = load_suite(path, Registry((*registry.plugins, plugin)))
        return make_plan(suite, Device("cpu", "test"))

    store = Store(tmp_path, "toy")
    unknown = plan()
    (record,) = runner.run(unknown, store, Ears())
    assert (record.status, record.error) == ("done", "")
    known = plan()
    assert known.cases[0].key != unknown.cases[0].key
    assert (record.key, record.conditions) == (known.cases[0].key, known.cases[0].conditions)
    ears = Ears()
    assert runner.run(known, store, ears) == [record]
    assert ears.cases == []
    assert {"last.pt", "classes.csv", DETAILS} <= the_files(store, record.key).keys()
    assert not store.checkpoints(unknown.cases[0].key).exists()
    (tmp_path / "weights").write_text("v2")
    assert plan().cases[0].key != record.key


def test_run_twice_gives_the_same_bits(planned, tmp_path) -> None:
    plan = planned(overrides=("augmentation=jitter", "recipe.workers=2"))
    first, second = (runner.run(plan, Store(tmp_path / name, "toy"), Ears()) for name in "ab")
    assert timeless(first[0]) == timeless(second[0])


def test_a_failed_case_is_recorded_and_the_others_go_on(planned, tmp_path) -> None:
    plan = planned("matrix:\n  loss: [{name: cosface, scale: 16, margin: 0.1}, nan, crashing]\n")
    store = Store(tmp_path, "toy")
    records = runner.run(plan, store, Ears())
    assert [record.status for record in records] == ["done", "failed", "failed"]
    assert records[1].error.startswith("loss 'nan' of plugin 'toys' (toys 1.0) returned nan at step 1")
    log = store.checkpoints(records[2].key) / "error.txt"
    assert re.sub(r":\d+", "", records[2].error) == (
        "RuntimeError: boom; raised in loss 'crashing' of plugin 'toys' (toys 1.0), CrashingLoss.__call__ at "
        f"toys.py (traceback in {log})"
    )
    assert "second line" in log.read_text()
    ears = Ears()
    runner.run(plan, store, ears)
    assert [name.split()[0] for name in ears.cases] == ["nan", "crashing"]  # failures are tried again


def test_a_corrupt_image_fails_its_case_in_one_line(planned, tmp_path) -> None:
    records = runner.run(planned(overrides=("dataset.broken=5",)), Store(tmp_path, "toy"), Ears())
    assert (records[0].status, records[0].error) == ("failed", "toy.png: truncated")


def test_a_wrong_option_that_only_building_shows_stops_before_any_work(planned, tmp_path) -> None:
    ears = Ears()
    with pytest.raises(SuiteError, match=r"--set recipe.optimizer=adamv: unknown optimizer 'adamv'"):
        runner.run(planned(overrides=("recipe.optimizer=adamv",)), Store(tmp_path, "toy"), ears)
    assert ears.cases == []


def test_a_plugin_that_cannot_even_be_built_fails_its_own_case(planned, tmp_path, monkeypatch) -> None:
    def buggy(spec, seed):
        if spec.name == "flatten":
            raise ZeroDivisionError("division by zero")
        return build_model(spec, seed)

    monkeypatch.setattr("mlbench.training.assembly.build_model", buggy)
    plan = planned("matrix:\n  neck.name: [gap, flatten]\n")
    records = runner.run(plan, Store(tmp_path, "toy"), Ears())
    assert [record.status for record in records] == ["done", "failed"]
    assert records[1].error.startswith("ZeroDivisionError: ")
    note = "not all of its components were checked before training: ZeroDivisionError: division by zero"
    assert [record.notes for record in records] == [(), (note,)]


def test_a_model_is_built_once_for_preflight_and_training(planned, tmp_path, monkeypatch) -> None:
    built = []
    build = toys.ToyBackboneOptions.build
    monkeypatch.setattr(
        toys.ToyBackboneOptions, "build", lambda self, size: built.append(size) or build(self, size)
    )
    plan = planned("matrix:\n  neck.name: [gap, flatten]\n")
    (first, second) = runner.run(plan, Store(tmp_path / "a", "toy"), Ears())
    assert (first.status, second.status) == ("done", "done")
    assert len(built) == 2
    # What is not kept is built again, with the same bits.
    monkeypatch.setattr("mlbench.training.preflight.KEPT_BYTES", 0)
    again = runner.run(plan, Store(tmp_path / "b", "toy"), Ears())
    assert len(built) == 2 + 3
    assert [timeless(record) for record in again] == [timeless(first), timeless(second)]


def test_run_leaves_torch_with_the_threads_that_it_had(planned, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runner, "threads", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        runner.run(planned(), Store(tmp_path, "toy"), Ears())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_speed_that_cannot_be_measured_does_not_lose_the_training(planned, tmp_path, monkeypatch) -> None:
    stub_measuring(monkeypatch, measured(None, "out of memory at batch size 32"))
    records = runner.run(planned("seeds: [0, 1]\n"), Store(tmp_path, "toy"), Ears())
    assert [record.status for record in records] == ["done", "done"]
    assert records[0].speed["images_per_second"].value is None
    assert records[0].notes[-1] == "images_per_second not known: out of memory at batch size 32"


def test_a_measurement_that_is_stopped_does_not_cost_the_training(planned, tmp_path, monkeypatch) -> None:
    def stopped(*arguments: object) -> Measurement:
        raise KeyboardInterrupt

    store = Store(tmp_path, "toy")
    stub_measuring(monkeypatch, stopped)
    with pytest.raises(KeyboardInterrupt):
        runner.run(planned(), store, Ears())
    (kept,) = store.latest()[0]
    assert (kept.status, dict(kept.speed)) == ("done", {})
    checkpoint = store.checkpoints(kept.key) / "last.pt"
    before = checkpoint.stat().st_mtime_ns
    stub_measuring(monkeypatch, measured(50.0))
    (record,) = runner.run(planned(), store, Ears())
    assert record.speed["images_per_second"].value == 50
    assert record.metrics == kept.metrics
    assert checkpoint.stat().st_mtime_ns == before


def test_a_run_that_is_stopped_leaves_the_benchmarks_of_what_is_finished(
    planned, tmp_path, monkeypatch
) -> None:
    plan = planned("matrix:\n  neck.name: [gap, flatten]\n")
    done = iter([measured(100.0)])

    def once(*arguments: object) -> Measurement:
        for each in done:
            return each
        raise KeyboardInterrupt

    stub_measuring(monkeypatch, once)
    with pytest.raises(KeyboardInterrupt):
        runner.run(plan, Store(tmp_path, "toy"), Ears())
    stub_measuring(monkeypatch, measured(50.0))
    runner.run(plan, Store(tmp_path, "toy"), Ears())
    first, second = (
        [each["name"] for each in json.loads(path.read_text())["benchmarks"]]
        for path in sorted((tmp_path / "toy" / "benchmarks").glob("*/*.json"))
    )
    assert (first, second) == (["gap[0]"], ["gap[0]", "flatten[0]"])


def test_another_way_of_measuring_measures_again_and_trains_nothing(planned, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path, "toy")
    first = runner.run(planned(), store, Ears())[0]
    checkpoint = tmp_path / "toy" / first.key / "last.pt"
    before = checkpoint.stat().st_mtime_ns
    stub_measuring(monkeypatch, measured(None, "out of memory at batch size 64"))
    ears = Ears()
    second = runner.run(planned(overrides=("measure.batch_size=64",)), store, ears)[0]
    assert ears.cases == []
    assert checkpoint.stat().st_mtime_ns == before
    assert (second.key, second.metrics) == (first.key, first.metrics)
    assert second.settings["measure"]["batch_size"] == 64
    assert second.speed["images_per_second"].value is None
    assert second.notes == (*first.notes, "images_per_second not known: out of memory at batch size 64")
    stub_measuring(monkeypatch, measured(50.0))
    third = runner.run(planned(), store, Ears())[0]
    assert (third.speed["images_per_second"].value, third.notes) == (50.0, first.notes)
    assert third.size == first.size
    assert runner.run(planned(), store, Ears()) == [third]
    assert runner.run(planned(), store, Ears(), again=True)[0].finished > third.finished


def test_a_lost_measurement_keeps_the_earlier_one_until_the_next_run(planned, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path, "toy")
    (first,) = runner.run(planned(), store, Ears())
    stub_measuring(monkeypatch, Measurement(lost="killed by signal 9"))
    (lost,) = runner.run(planned(), store, Ears(), again=True)
    assert (lost.speed, lost.measured, lost.size) == (first.speed, first.measured, first.size)
    assert lost.notes == (*first.notes, "not measured: killed by signal 9; the next run measures again")
    stub_measuring(monkeypatch, measured(50.0))
    (second,) = runner.run(planned(), store, Ears())
    assert (second.speed["images_per_second"].value, second.notes) == (50.0, first.notes)


def test_a_new_measurement_leaves_nothing_of_an_earlier_one(planned, tmp_path, monkeypatch) -> None:
    """Notes of a record stand in one list, also in records that an older mlbench has written."""
    speed = {
        "images_per_second": Timing(9.0, (9.0,), "images/s", reference=(2.0,)),
        "onnx_images_per_second": Timing(None, note="onnx is not installed"),
        "latency_p50": Timing(None, note="out of memory at batch size 1"),
        "latency_p95": Timing(None, note="out of memory at batch size 1"),
    }
    first = Measurement(
        speed,
        size={"flops": 7, "onnx": 70},
        measured={"batch_size": 32},
        unknown={"checkpoint_float16": "no disk"},
    )
    store, plan = Store(tmp_path, "toy"), planned(overrides=("dataset.disjoint=false",))
    stub_measuring(monkeypatch, first)
    (record,) = runner.run(plan, store, Ears())
    own = ("test may share classes with training: expect optimistic numbers",)
    assert record.notes == (
        *own,
        "onnx_images_per_second not known: onnx is not installed",
        "latency_p50, latency_p95 not known: out of memory at batch size 1",
        "checkpoint_float16 not known: no disk",
    )
    older = ("speed is not known: killed",)
    others = ("not trained: recipe.epochs is 0", "the licence is not known: ask")
    store.put(replace(record, notes=(*record.notes, *older, *others)))
    stub_measuring(monkeypatch, measured(9.0))
    (record,) = runner.run(plan, store, Ears(), again=True)
    assert record.notes == (*own, *others)
    assert record.size["flops"] == 7
    assert "onnx" not in record.size  # it was asked for then, and is not now
    assert record.size["parameters"] > 0


def test_a_run_leaves_what_pytest_benchmark_reads(planned, tmp_path) -> None:
    plan = planned("seeds: [0, 1]\n")
    runner.run(plan, Store(tmp_path, "toy"), Ears())
    runner.run(plan, Store(tmp_path, "toy"), Ears())  # nothing is measured, nothing is added
    (path,) = (tmp_path / "toy" / "benchmarks").glob("*/*.json")
    found = json.loads(path.read_text())["benchmarks"]
    rounds = {each["name"]: each["stats"]["data"] for each in found}
    assert rounds == {"base[0]": [0.32], "base[1]": [0.32]}
    assert Store(tmp_path, "toy").latest()[1] == []


def test_no_global_state_outlives_its_case(planned, tmp_path, monkeypatch) -> None:
    def state() -> list:
        return [
            dict(os.environ),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.is_grad_enabled(),
            list(warnings.filters),
        ]

    def measure(*_: object) -> Measurement:
        seen.append(dict(os.environ))  # what the process that measures would get
        return measured(100.0)

    # Libraries set variables of the environment when they are first imported.
    importlib.import_module("mlbench.training.preflight")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    stub_measuring(monkeypatch, measure)
    seen: list[dict] = []
    before = state()
    runner.run(planned(overrides=("compute.matmul_precision=medium",)), Store(tmp_path, "toy"), Ears())
    assert state() == before
    assert seen == [before[0]]


def test_what_was_compiled_for_another_case_is_forgotten(planned, tmp_path, monkeypatch) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append("reset"))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    plan = planned("matrix:\n  compute.compile: [true, false]\n")
    runner.run(plan, Store(tmp_path, "toy"), Ears())
    assert forgotten == ["reset"]


def test_what_a_killed_run_left_half_written_is_removed(planned, tmp_path) -> None:
    leftover = tmp_path / "toy" / "gap-s0-1" / ".best.pt.012345.mlbench.tmp"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    runner.run(planned(), Store(tmp_path, "toy"), Ears())
    assert not leftover.exists()


def test_what_a_killed_trial_left_half_written_is_removed_and_that_of_others_is_not(
    planned, tmp_path
) -> None:
    """Other processes may be running other trials in the same folder."""
    plan = planned()
    (case,) = plan.cases
    left = [f"{case.key}/.last.pt.012345.mlbench.tmp", f".{case.key}.json.012345.mlbench.tmp"]
    others = ["other-s0-1/.last.pt.012345.mlbench.tmp", ".other-s0-1.json.012345.mlbench.tmp"]
    for name in (*left, *others):
        (tmp_path / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / name).touch()
    assert runner.run_case(case, plan, Store(tmp_path, "toy"), Ears()).status == "done"
    assert not [name for name in left if (tmp_path / "toy" / name).exists()]
    assert all((tmp_path / "toy" / name).exists() for name in others)


def test_shared_classes_are_said_aloud(planned, tmp_path) -> None:
    record = runner.run(planned(overrides=("dataset.disjoint=false",)), Store(tmp_path, "toy"), Ears())[0]
    assert record.notes == ("test may share classes with training: expect optimistic numbers",)
    assert record.data["disjoint"] is False


def test_a_closed_set_is_evaluated_against_the_training_images(planned, tmp_path, monkeypatch) -> None:
    compared = []

    def watched(embeddings, engine):
        compared.append(embeddings)
        return verification_curve(embeddings, engine)

    def watched_too(policy, embeddings, *others):
        compared.append(embeddings)
        return calibrate(policy, embeddings, *others)

    monkeypatch.setattr(checkpoint_score, "verification_curve", watched)
    monkeypatch.setattr(case_evaluation, "calibrate", watched_too)
    closed = ("dataset={name: toy, closed: true}", "evaluation.gallery=train")
    plan = planned(overrides=closed)
    record = runner.run(plan, Store(tmp_path, "toy"), Ears())[0]
    assert (record.status, record.error) == ("done", "")
    assert record.notes == ()  # that test shares classes with training is the protocol
    found = record.evaluation
    words = "queries of 6 classes against 24 train gallery images of 6 classes (4 a class)"
    assert found["protocol"] == {
        "queries": "test",
        "gallery": "train",
        "grouped": False,
        "text": f"closed set: 24 test {words}",
        "calibration": f"closed set: 24 calibration {words}",
    }
    assert (found["queries"], found["gallery"]) == (24, 24)
    assert (found["positive_pairs"], found["negative_pairs"]) == (6 * 4 * 4, 24 * 20)
    # The epochs and the threshold are judged by calibration as the test is: against the training images.
    assert len(compared) == 2 + 1
    for each in compared:
        assert (each.name, each.gallery_name) == ("calibration", "train")
        assert (each.queries.sum(), each.gallery.sum()) == (24, 24)
    classes = (tmp_path / "toy" / plan.cases[0].key / "classes.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in classes[1:]] == [[f"every split/{n}", "4"] for n in range(6)]
    details = read_details(tmp_path / "toy" / plan.cases[0].key / DETAILS)
    assert details is not None
    assert details.classes.names == tuple(f"every split/{n}" for n in range(6))
    assert (details.place(23), details.place(24)) == (("test", 23), ("train", 0))
    assert (details.queries.tolist(), details.map.index.max()) == (list(range(24)), 47)
    assert (details.hardest_positives.b >= 24).all()
    assert f"\nprotocol: {found['protocol']['text']}\n" in results_markdown([record], "")
    other = runner.run(planned(overrides=closed[:1]), Store(tmp_path, "toy"), Ears())[0]
    assert other.evaluation["protocol"]["text"] == "leave one out among 24 test images of 6 classes"
    assert other.fingerprint != record.fingerprint


def test_training_images_can_be_scored_and_say_so(planned, tmp_path) -> None:
    plan = planned(overrides=("evaluation.split=train",))
    record = runner.run(plan, Store(tmp_path, "toy"), Ears())[0]
    assert (record.status, record.error) == ("done", "")
    told = "scored on the images that it trained on (evaluation.split: train): its metrics say nothing about"
    assert record.notes[0].startswith(told)
    train, found = plan.cases[0].dataset.split("train"), record.evaluation
    words = f"leave one out among {len(train)} train images of {train.num_classes} classes"
    assert found["protocol"]["text"] == f"its own training images: {words}"
    assert found["protocol"]["split"] == found["protocol"]["queries"] == "train"
    assert found["protocol"]["calibration"].startswith("leave one out among 24 calibration images")
    assert found["queries"] == found["gallery"] == len(train)
    classes = (tmp_path / "toy" / plan.cases[0].key / "classes.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in classes[1:]] == [
        train.class_name(label) for label in range(train.num_classes)
    ]
    details = read_details(tmp_path / "toy" / plan.cases[0].key / DETAILS)
    assert details is not None
    assert (details.split, details.gallery, details.images) == ("train", "train", len(train))
    other = runner.run(planned(), Store(tmp_path, "toy"), Ears())[0]
    assert other.fingerprint != record.fingerprint
    assert other.training["model"] == record.training["model"]  # trained alike, scored on other images


def test_a_full_disk_stops_the_run_and_leaves_no_record(planned, tmp_path, monkeypatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("mlbench.records.store.write_atomically", full)
    monkeypatch.setattr("mlbench.training.train.write_atomically", full)
    with pytest.raises(StoreError, match="No space left"):
        runner.run(planned("seeds: [0, 1]\n"), Store(tmp_path, "toy"), Ears())
    assert list((tmp_path / "toy").glob("*.json")) == []


def test_a_full_disk_inside_torch_save_stops_the_run(planned, tmp_path) -> None:
    """A real write that the operating system ends, of which torch makes a RuntimeError."""
    ears = Ears()
    with (
        full_disk(1000),
        pytest.raises(StoreError, match=r"best\.pt: cannot be written \(File too large\); free space or"),
    ):
        runner.run(planned("seeds: [0, 1]\n"), Store(tmp_path, "toy"), ears)
    assert ears.cases == ["base 0 1/2"]
    assert [path for path in (tmp_path / "toy").rglob("*") if path.is_file()] == [tmp_path / "toy" / ".lock"]


def test_a_disk_that_is_full_elsewhere_stops_the_run_too(planned, tmp_path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
        except OSError:
            raise RuntimeError("a library's own words") from None

    monkeypatch.setattr("mlbench.training.experiment.train", full)
    message = r"^case 'base' seed 0: a disk is full \(.*No space left on device: '/tmp/x'\); free space$"
    with pytest.raises(StoreError, match=message):
        runner.run(planned(), Store(tmp_path, "toy"), Ears())
    assert list((tmp_path / "toy").glob("*.json")) == []


def test_a_cache_that_cannot_be_written_costs_a_note(planned, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    expected = runner.run(planned(), Store(tmp_path / "a", "toy"), Ears())[0]
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file"))
    record = runner.run(planned(), Store(tmp_path / "b", "toy"), Ears())[0]
    assert record.metrics == expected.metrics
    (note,) = record.notes
    assert "inputs are not cached: " in note


def test_what_stops_a_run_is_told_though_its_benchmarks_cannot_be_saved(
    planned, tmp_path, monkeypatch
) -> None:
    def broken(*arguments: object) -> None:
        raise StoreError("benchmarks cannot be written")

    def stopped(*arguments: object) -> Measurement:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "save_benchmarks", broken)
    with pytest.raises(StoreError, match="benchmarks cannot be written"):
        runner.run(planned(), Store(tmp_path / "a", "toy"), Ears())
    stub_measuring(monkeypatch, stopped)
    with pytest.raises(KeyboardInterrupt):
        runner.run(planned(), Store(tmp_path / "b", "toy"), Ears())


def test_a_failure_is_told_though_its_traceback_cannot_be_written(planned, tmp_path, monkeypatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(case_record, "write_atomically", full)
    message = r"error.txt: cannot be written \(.*\) \(before, the case failed: RuntimeError: boom\)"
    with pytest.raises(StoreError, match=message):
        runner.run(planned(overrides=("loss=crashing", "sampler=null")), Store(tmp_path, "toy"), Ears())


def test_metrics_are_told_before_speed_is_measured(planned, tmp_path, monkeypatch) -> None:
    ears = Ears()
    stub_measuring(monkeypatch, lambda: ears.stages.append("measured") or measured(1.0))
    runner.run(planned(), Store(tmp_path, "toy"), ears)
    assert ears.stages[0] == "checking models"
    first, second = (each for each in ears.stages if each.startswith("training"))
    assert first == "training, epoch 1 of 2"
    assert second == "training, epoch 2 of 2"
    assert [(name, epoch) for name, epoch, _ in ears.epochs] == [("base", 1), ("base", 2)]
    assert ears.stages[-3:] == ["evaluating", "finished", "measured"]
    ears.stages.clear()
    runner.run(planned(), Store(tmp_path, "toy"), ears, again=True)
    assert ears.stages == ["measured"]  # its metrics are known for long


def test_without_measuring_a_case_is_trained_and_the_next_run_measures_it(planned, tmp_path) -> None:
    store = Store(tmp_path, "toy")
    ears = Ears()
    (first,) = runner.run(planned(), store, ears, measuring=False)
    assert (first.status, dict(first.speed)) == ("done", {})
    assert "measuring speed" not in ears.stages
    assert len(ears.records) == 1
    assert "images/s" not in results_markdown([first], "toy")
    idle = Ears()
    assert runner.run(planned(), store, idle, measuring=False) == [first]
    assert idle.cases == []
    (second,) = runner.run(planned(), store, Ears())
    assert second.speed["images_per_second"].value == 100
    assert second.metrics == first.metrics
    assert runner.run(planned(), store, idle, measuring=False) == [second]


@pytest.mark.slow
def test_kill_9_keeps_finished_cases_and_the_next_run_does_the_rest(write, tmp_path, installed_toys) -> None:
    flag = tmp_path / "died"
    more = f"""matrix:
  dataset:
    first: toy
    second: {{name: deadly, once: {flag}}}
    third: {{name: toy, classes: 5}}
"""
    quick = TOY_SUITE.replace("epochs: 2", "epochs: 1, workers: 0")
    suite = write(more, whole=quick)

    def run(name: str):
        options = ("--results", tmp_path / name, "--json", "--device", "cpu", "--no-measure")
        return mlbench("run", suite, *options, env=installed_toys)

    killed = run("a")
    assert killed.returncode == -9
    assert flag.exists()
    kept = list((tmp_path / "a" / "toy").glob("*.json"))
    assert [path.name.split("-")[0] for path in kept] == ["first"]
    before = kept[0].read_bytes()

    resumed = run("a")
    assert resumed.returncode == 0, resumed.stderr
    assert "first seed 0" not in resumed.stderr
    assert kept[0].read_bytes() == before
    undisturbed = run("b")
    records = [json.loads(process.stdout) for process in (resumed, undisturbed)]
    assert [record["case"] for record in records[0]] == ["first", "second", "third"]
    assert [timeless(record) for record in records[0]] == [timeless(record) for record in records[1]]


def test_ctrl_c_is_one_line_and_leaves_no_half_record(write, tmp_path, installed_toys) -> None:
    """A real SIGINT, sent by the data set itself in the middle of its reading."""
    suite = write(whole=TOY_SUITE.replace("dataset: toy", f"dataset: {{name: deadly, once: {tmp_path / 'x'}, "
                  "signal: 2}").replace("epochs: 2", "epochs: 1, workers: 0"))  # fmt: skip
    stopped = mlbench("run", suite, "--results", tmp_path / "r", "--device", "cpu", env=installed_toys)
    assert stopped.returncode == 130
    assert stopped.stderr.strip().endswith(
        "mlbench: stopped; finished cases are kept, and the same command continues from there"
    )
    assert "Traceback" not in stopped.stderr
    assert list((tmp_path / "r" / "toy").glob("*.json")) == []


def test_editing_a_metric_trains_again_and_measures_nothing(planned, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path, "toy")
    asked: list[object] = []
    speeds = {name: Timing(9.0, (9.0,)) for name in ("images_per_second", "training_images_per_second")}
    speeds |= {name: Timing(9.0, (9.0,)) for name in ("latency_p50", "latency_p95")}
    stub_measuring(monkeypatch, lambda: asked.append(1) or Measurement(speeds))
    first = runner.run(planned(), store, Ears())[0]
    provenance = Entry.provenance.func

    def edited(kind: str) -> None:
        def changed(entry: Entry) -> dict[str, str]:
            return {**provenance(entry), **({"code": "new"} if entry.component.kind == kind else {})}

        monkeypatch.setattr(Entry, "provenance", property(changed))

    edited("metric")
    ears = Ears()
    second = runner.run(planned(), store, ears)[0]
    assert (len(ears.cases), len(asked)) == (1, 1)
    assert second.fingerprint != first.fingerprint
    assert second.speed == first.speed
    assert second.measured["taken_from"] == dict.fromkeys(("inference", "latency", "training"), first.key)
    runner.run(planned(), store, ears, again=True)
    assert (len(ears.cases), len(asked)) == (1, 2)
    edited("loss")
    runner.run(planned(), store, ears)
    assert (len(ears.cases), len(asked)) == (2, 3)  # its training speed


@pytest.mark.parametrize("moment", ["during", pytest.param("after", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_record_of_an_undisturbed_one(
    write, tmp_path, installed_toys, moment
) -> None:
    """A real process is killed while it writes its third state, or just after it."""

    def process(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env=installed_toys, capture_output=True, text=True, check=False
        )

    def command(folder: str) -> list[str]:
        options = ["--device", "cpu", "--no-measure", "--set", "compute.save_every=1e-9"]
        return ["run", str(write()), *options, "--results", str(tmp_path / folder)]

    killed = process(f"""
import os, signal
from mlbench.cli import main
from mlbench.training import saved_state
written, write = [], saved_state.write_atomically
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def torn(file):
    file.write(b"PK" * 1000)
    file.flush()
    kill()
def deadly(path, data):
    written.append(path)
    write(path, torn if len(written) == 3 and {moment!r} == "during" else data)
    if len(written) == 3:
        kill()
saved_state.write_atomically = deadly
main({command("killed")})
""")
    assert killed.returncode == -9, killed.stderr
    assert list(tmp_path.glob(f"killed/**/{UNFINISHED}"))
    after = process(f"""
from mlbench.cli import main
for command in {[command("killed"), command("whole")]}:
    main(command, standalone_mode=False)
""")
    assert after.returncode == 0, after.stderr
    assert not list(tmp_path.glob(f"**/{UNFINISHED}"))
    found, expected = (Store(tmp_path / name, "toy").read()[0] for name in ("killed", "whole"))
    assert found[0].training["continued"] == [2 if moment == "during" else 3]
    continued = timeless(found[0])
    del continued["training"]["continued"]
    assert [continued, *map(timeless, found[1:])] == list(map(timeless, expected))

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import pytest
from conftest import TESTS

from mlbench.environment import Device
from mlbench.measurement import measure as module
from mlbench.measurement.measure import measure
from mlbench.measurement.process import MeasuringProcess, ProcessEndedError
from mlbench.measurement.result import SIZES, Measurement
from mlbench.measurement.subject import STAGES, subjects_of
from mlbench.planning.plan import Case, make_plan
from mlbench.planning.plugin_code import stopped_in
from mlbench.planning.suite import load_suite
from mlbench.plugin_files import PluginFile, add_plugin_files
from mlbench.records.record import MEASURED, Timing
from mlbench.registry import Registry
from mlbench_necks import projection

QUICK = ("measure.latency=false", "measure.training=false")


@pytest.fixture(autouse=True)
def _toys_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measuring process imports the toys too."""
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(TESTS), known))))


def measured(*cases: Case, process: Any = None) -> list[Measurement]:
    steps: list[tuple[int, int]] = []
    with process or MeasuringProcess("cpu") as here:
        found = {
            case.key: each
            for case, each in measure(cases, here, lambda what, done, total: steps.append((done, total)))
        }
    assert steps == sorted(steps)
    assert all(done <= total for done, total in steps)
    return [found[case.key] for case in cases]


class Scripted:
    """A measuring process that answers from a script. seconds: by (number, stage), of each round. ends: the
    stage that ends the process, by (number, round)."""

    device = "cpu"

    def __init__(
        self,
        seconds: Callable[[int, str, int], float],
        ends: Mapping[tuple[int, int], str] = {},
        loads: Mapping[int, str] = {},
    ) -> None:
        self.seconds, self.ends, self.loads = seconds, dict(ends), dict(loads)
        self.asked: list[tuple[Any, ...]] = []
        self.rounds: dict[tuple[int, str], int] = {}

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, *, number: int = -1, **request: Any) -> Mapping[str, Any]:
        if "load" in request:
            self.asked.append(("load", number, *request["unwanted"]))
            if number in self.loads:
                raise ProcessEndedError("measuring failed: no model", self.loads[number])
            return {"failed": {}, "memory": {"peak_cpu": 7}, "size": {"flops": 9}, "threads": 1}
        if "clear" in request:
            self.asked.append(("clear",))
            return {"reference_minimum": 0.4}
        self.asked.append((number, *request["stages"]))
        done = self.rounds.get((number, request["stages"][0]), 0)
        if (number, done) in self.ends:
            raise ProcessEndedError("killed by signal 9 (out of memory?)", self.ends.pop((number, done)))
        found = {}
        for stage in request["stages"]:
            count = self.rounds[number, stage] = self.rounds.get((number, stage), 0) + 1
            seconds = {name: self.seconds(number, stage, count) for name in STAGES[stage]}
            found[stage] = {"seconds": seconds, "reference": 0.5}
        return {"found": found, "failed": {}}


def noisy(number: int, stage: str, count: int) -> float:
    return 1.0 + 0.2 * (count % 3)


def test_measure_gives_every_speed_with_its_rounds_and_every_size(planned) -> None:
    (case,) = planned(overrides=("measure.rounds=3", "measure.batch_size=5", "measure.onnx=true")).cases
    (found,) = measured(case)
    assert found.notes == ()
    assert list(found.speed) == [
        "images_per_second",
        "latency_p50",
        "latency_p95",
        "training_images_per_second",
        "onnx_images_per_second",
    ]
    for name, timing in {**found.speed, **found.memory}.items():
        assert (timing.unit, timing.higher_is_better) == MEASURED[name]
    for timing in found.speed.values():
        assert len(timing.rounds) == len(timing.reference) == 3
        assert timing.value == median(timing.rounds)
        assert min(*timing.rounds, *timing.reference) > 0
    assert all(
        p50 <= p95
        for p50, p95 in zip(found.speed["latency_p50"].rounds, found.speed["latency_p95"].rounds, strict=True)
    )
    assert found.memory.keys() == {"peak_cpu", "training_peak_cpu"}
    assert found.memory["training_peak_cpu"].value > found.memory["peak_cpu"].value > 4 * 560
    # Two convolutions of 2 x 2 pixels and two products of 8 by 8, a multiply-add counting as two.
    assert found.size["flops"] == 2 * (8 * 8 * 8 * 3 * 4 + 4 * 4 * 8 * 8 * 4 + 2 * 8 * 8)
    assert found.size["onnx"] > 4 * 560
    assert found.size["checkpoint_float32"] > found.size["checkpoint_float16"] > 2 * 560
    assert set(found.size) == set(SIZES)
    assert (found.measured["batch_size"], found.measured["training_batch_size"]) == (5, 8)
    assert found.measured["precision"] == "fp32"
    references = [each for timing in found.speed.values() for each in timing.reference]
    assert found.measured["reference_minimum"] == min(references)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A limit on the address space of new processes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_stage_out_of_memory_is_noted_with_its_batch_size_and_the_rest_is_measured(
    planned, little_memory
) -> None:
    """Inference really runs out of memory; training is killed as the kernel would kill it. The other case is
    measured in the process that follows."""
    changes = "cases:\n  large: {image.size: 512, measure.batch_size: 65536, loss: killing}\n"
    large, small = planned(f"{changes}  small: {{neck.dim: 16}}\n", overrides=("measure.rounds=1",)).cases
    found, other = measured(large, small)
    inference = "out of memory at batch size 65536"
    training = "killed by signal 9 (out of memory?) at batch size 8"
    assert found.speed["images_per_second"] == Timing(None, (), "images/s", True, inference)
    assert found.speed["training_images_per_second"].note == training
    assert found.speed["latency_p50"].value > 0
    assert found.notes == (
        f"images_per_second not known: {inference}",
        f"training_images_per_second not known: {training}",
    )
    assert found.measured["batch_size"] == 65536
    assert other.notes == ()
    assert len(other.speed["training_images_per_second"].rounds) == 1


def test_a_model_that_cannot_be_built_is_noted_in_one_line(planned, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    (found,) = measured(*planned().cases)
    (note,) = found.notes
    assert found.speed == {}
    assert note.startswith("not measured: measuring failed: ")
    assert note.endswith("; the next run measures again")
    assert "toys" in note
    assert "\n" not in note


def test_a_process_that_cannot_be_started_is_noted(planned, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("subprocess.Popen", none)
    (found,) = measured(*planned().cases)
    assert found.lost == "measuring failed: OSError: [Errno 12] Cannot allocate memory"


def test_output_of_libraries_is_not_an_answer(planned, tmp_path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ["PYTHONPATH"])))
    (found,) = measured(*planned(overrides=(*QUICK, "measure.rounds=1")).cases)
    assert found.notes == ()


def test_leaving_the_process_ends_it(planned) -> None:
    process = MeasuringProcess("cpu")
    process.prepare()
    here = process._process
    with pytest.raises(KeyboardInterrupt), process:  # noqa: PT012
        assert here.poll() is None
        raise KeyboardInterrupt
    assert here.poll() is not None


def test_rounds_go_over_all_subjects_in_turn_and_end_at_the_suites_number(planned) -> None:
    plan = planned("matrix:\n  neck.dim: [8, 16]\nseeds: [0, 1]\n", overrides=(*QUICK, "measure.rounds=4"))
    process = Scripted(noisy)
    found = measured(*plan.cases, process=process)
    assert [each[:2] for each in process.asked] == [
        ("load", 0),
        ("load", 1),
        *[(0, "inference"), (1, "inference")] * 4,
        ("clear",),
    ]
    assert [len(each.speed["images_per_second"].rounds) for each in found] == [4] * 4
    assert found[0].speed["images_per_second"].rounds == (32 / 1.2, 32 / 1.4, 32.0, 32 / 1.2)


def test_a_stage_needs_no_more_rounds_when_its_median_is_known(planned) -> None:
    """Six equal rounds are the fewest with an interval of 95 %."""

    def steady_inference(number: int, stage: str, count: int) -> float:
        return 1.0 if stage == "inference" else noisy(number, stage, count)

    case = planned(overrides=("measure.rounds=9", "measure.training=false")).cases[0]
    (found,) = measured(case, process=Scripted(steady_inference))
    assert [len(timing.rounds) for timing in found.speed.values()] == [6, 9, 9]


def test_a_stage_that_ends_the_process_in_a_round_does_not_affect_others(planned) -> None:
    """Training is killed in the second round, as the kernel kills a process out of memory."""
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=("measure.latency=false", "measure.rounds=3"))
    process = Scripted(noisy, {(0, 1): "training"})
    first, second = measured(*plan.cases, process=process)
    reload = next(each for each in process.asked[3:] if each[:2] == ("load", 0))
    assert {"training", "flops"} <= set(reload)
    assert "inference" not in reload
    note = "killed by signal 9 (out of memory?) at batch size 8"
    assert first.speed["training_images_per_second"].note == note
    assert [len(each.speed["images_per_second"].rounds) for each in (first, second)] == [3, 3]
    assert len(second.speed["training_images_per_second"].rounds) == 3
    assert (first.notes, second.notes) == ((f"training_images_per_second not known: {note}",), ())


@pytest.mark.parametrize("stage", ["", "model"])
def test_a_model_that_ends_the_process_does_not_affect_others(planned, stage: str) -> None:
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=(*QUICK, "measure.rounds=2"))
    first, second = measured(*plan.cases, process=Scripted(noisy, loads={0: stage}))
    assert first.lost == "measuring failed: no model"
    assert len(second.speed["images_per_second"].rounds) == 2
    assert (second.size, second.memory["peak_cpu"].value) == ({"flops": 9}, 7)


def test_an_error_between_rounds_loses_no_case(planned) -> None:
    class Broken(Scripted):
        def ask(self, **request: Any) -> Mapping[str, Any]:
            raise ValueError("no")

    (found,) = measured(*planned(overrides=QUICK).cases, process=Broken(noisy))
    assert found.lost == "measuring failed: ValueError: no"


def test_a_process_that_another_program_kills_is_started_again(planned) -> None:
    """Once for each subject: a kill that comes again is its own."""
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=(*QUICK, "measure.rounds=2"))
    first, second = measured(*plan.cases, process=Scripted(noisy, {(0, 1): ""}))
    assert [len(each.speed["images_per_second"].rounds) for each in (first, second)] == [2, 2]


def test_a_process_killed_while_it_is_idle_is_started_again(planned) -> None:
    process = MeasuringProcess("cpu")
    process.prepare()
    process._process.kill()
    process._process.wait()
    with process:
        assert process.ask(clear=True) == {"reference_minimum": None}


def test_a_subject_that_cannot_be_sent_does_not_affect_others(planned) -> None:
    class Unsendable(Scripted):
        def ask(self, *, number: int = -1, **request: Any) -> Mapping[str, Any]:
            if "load" in request and number == 0:
                raise AttributeError("cannot pickle")
            return super().ask(number=number, **request)

    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=(*QUICK, "measure.rounds=2"))
    first, second = measured(*plan.cases, process=Unsendable(noisy))
    assert first.lost == "measuring failed: AttributeError: cannot pickle"
    assert len(second.speed["images_per_second"].rounds) == 2


def test_a_stage_that_fails_in_a_round_has_its_own_reason(planned) -> None:
    class Late(Scripted):
        def ask(self, *, number: int = -1, **request: Any) -> Mapping[str, Any]:
            answer = dict(super().ask(number=number, **request))
            if "latency" in request.get("stages", ()) and self.rounds[0, "latency"] == 2:
                answer["found"].pop("latency")
                answer["failed"] = {"latency": "out of memory"}
            return answer

    case = planned(overrides=("measure.rounds=3", "measure.training=false")).cases[0]
    (found,) = measured(case, process=Late(noisy))
    assert found.speed["latency_p50"].note == "out of memory at batch size 1"
    assert len(found.speed["images_per_second"].rounds) == 3


def test_one_machine_has_one_minimum_for_all_cases(planned) -> None:
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=(*QUICK, "measure.rounds=2"))
    found = measured(*plan.cases, process=Scripted(noisy))
    assert [each.measured["reference_minimum"] for each in found] == [0.4, 0.4]
    one, two = (each.measured["turns"] for each in found)
    assert one == two
    (later,) = measured(plan.cases[0], process=Scripted(noisy))
    assert later.measured["turns"]["images_per_second"] != one["images_per_second"]


def test_models_that_do_not_fit_together_are_measured_one_after_the_other(planned, monkeypatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 1)
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=(*QUICK, "measure.rounds=1"))
    process = Scripted(noisy)
    found = measured(*plan.cases, process=process)
    one, two = ([("load", n), (n, "inference"), ("clear",)] for n in (0, 1))
    assert [each[:2] for each in process.asked] == [*one, *two]
    first, second = (each.measured["turns"]["images_per_second"].split(".") for each in found)
    assert first[0] == second[0]  # the session
    assert (first[1], second[1]) == ("0", "1")


@pytest.mark.parametrize(
    ("stage", "known"), [("training", ["images_per_second"]), ("inference", []), ("model", [])]
)
def test_a_component_that_hangs_is_named_and_given_up(planned, stage: str, known: list[str]) -> None:
    """With a model that hangs in inference, the case is; another stage alone."""
    stack = [("threading.py", 3, "wait"), (projection.__file__, 7, "forward"), ("module.py", 1, "_call")]

    class Hanging(Scripted):
        def ask(self, *, number: int = -1, limit: float = 0.0, **request: Any) -> Mapping[str, Any]:
            if number == 0 and stage in request.get("stages", ("model",)):
                limits.append(limit)
                raise ProcessEndedError("its time is over", stage, stack)
            return super().ask(number=number, **request)

    limits: list[float] = []
    plan = planned("matrix:\n  neck.dim: [8, 16]\n", overrides=("measure.latency=false", "measure.rounds=2"))
    steps = {plan.cases[0].key: 30.0, plan.cases[1].key: 99.0}
    with Hanging(noisy) as process:
        first, second = (each for _, each in measure(plan.cases, process, lambda *_: None, steps=steps))
    plugin = plan.cases[0].spec.parts["neck"].plugin_text
    reason = f"not done after 20 min, given up; it was in neck 'gap' of {plugin}, forward at projection.py:7"
    assert limits == [1200.0]
    assert second.notes == ()
    assert [name for name, each in first.speed.items() if each.value is not None] == known
    (note,) = first.notes
    assert reason in note
    assert note.startswith("training_images_per_second not known: " if known else "not measured: ")


HANGING = """
import os
import threading

from mlbench.plugin import Component, NeckOptions, hookimpl


class Hanging(NeckOptions):
    def build(self, features):
        from torch import nn

        class Neck(nn.Module):
            dim = features.channels

            def forward(self, maps):
                if os.path.exists(os.environ["HANG"]):
                    threading.Event().wait()
                return maps.mean((2, 3))

        return Neck()


@hookimpl
def mlbench_components():
    return [Component("neck", "hanging", "hanging:Hanging", "hangs when a file exists")]
"""


@pytest.mark.slow
def test_a_process_that_hangs_ends_and_says_where(
    write, registry: Registry, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, file = tmp_path / "hang", tmp_path / "hanging.py"
    file.write_text(HANGING)
    monkeypatch.setenv("HANG", str(hang))
    monkeypatch.setenv("MLBENCH_LOCAL_MODULES", "{}")
    known = Registry(add_plugin_files(registry.plugins, [PluginFile(file, "hanging.py")]))
    suite = load_suite(write(), known, overrides=(*QUICK, "neck=hanging"))
    (case,) = make_plan(suite, Device("cpu", "test")).cases
    (subject,), _ = subjects_of([case])
    with MeasuringProcess("cpu") as process:
        process.ask(load=subject, number=0, unwanted=())
        hang.touch()
        with pytest.raises(ProcessEndedError) as caught:
            process.ask(number=0, stages=["inference"], limit=2.0)
        assert caught.value.stage == "inference"
        where = stopped_in(caught.value.hung, case.spec.every_part())
        assert where == f"neck 'hanging' of {case.spec.parts['neck'].plugin_text}, forward at hanging.py:17"
        assert process.ask(clear=True) == {"reference_minimum": None}  # another process

from __future__ import annotations

import os
import resource
from pathlib import Path
from statistics import median

import pytest
from conftest import TESTS

from mlbench.errors import MlbenchError
from mlbench.measurement.measure import SIZES, Measurement, MeasuringProcess, measure, measurement_key
from mlbench.measurement.stopwatch import Stopwatch
from mlbench.records.record import MEASURED, Timing


@pytest.fixture(autouse=True)
def _toys_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measuring process imports the toys too."""
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(TESTS), known))))


@pytest.fixture
def planned(planned):
    """The shared fixture without patience, since other tests disturb these."""

    def impatient(more: str = "", *, overrides: tuple[str, ...] = ()):
        return planned(more, overrides=("measure.patience=0", *overrides))

    return impatient


def undisturbed_notes(found: Measurement) -> list[str]:
    """Notes except those on disturbances by other processes."""
    return [note for note in found.notes if "disturbed" not in note]


def test_measure_gives_every_speed_with_its_rounds_and_every_size(planned) -> None:
    case = planned(overrides=("measure.rounds=3", "measure.batch_size=5", "measure.onnx=true")).cases[0]
    found = measure(case, "cpu")
    assert undisturbed_notes(found) == []
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
    if Path("/proc/self/status").exists():
        assert found.memory.keys() == {"peak_host", "training_peak_host"}
    # Two convolutions of 2 x 2 pixels and two products of 8 by 8, a multiply-add counting as two.
    assert found.size["flops"] == 2 * (8 * 8 * 8 * 3 * 4 + 4 * 4 * 8 * 8 * 4 + 2 * 8 * 8)
    assert found.size["onnx"] > 4 * 560
    assert found.size["checkpoint_float32"] > found.size["checkpoint_float16"] > 2 * 560
    assert (found.measured["batch_size"], found.measured["training_batch_size"]) == (5, 8)
    assert (found.measured["rounds"], found.measured["precision"]) == (3, "fp32")
    references = [each for timing in found.speed.values() for each in timing.reference]
    assert (found.measured["quiet"], found.measured["repeated"]) == (min(references), 0)


@pytest.fixture
def little_memory():
    """A limit on the address space of new processes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_stage_out_of_memory_is_noted_with_its_batch_size_and_the_rest_is_measured(
    planned, little_memory
) -> None:
    """Inference really runs out of memory; training is killed as the kernel would kill it."""
    case = planned(
        overrides=("image.size=512", "measure.batch_size=65536", "measure.rounds=1", "loss=killing")
    ).cases[0]
    found = measure(case, "cpu")
    inference = "out of memory at batch size 65536"
    training = "killed by signal 9 (out of memory?) at batch size 8"
    assert found.speed["images_per_second"] == Timing(None, (), "images/s", True, inference)
    assert found.speed["training_images_per_second"].note == training
    assert found.speed["latency_p50"].value > 0
    assert undisturbed_notes(found) == [
        f"images_per_second not known: {inference}",
        f"training_images_per_second not known: {training}",
    ]
    assert found.measured["batch_size"] == 65536


def test_a_model_that_cannot_be_built_is_noted_in_one_line(planned, monkeypatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    found = measure(planned().cases[0], "cpu")
    note = found.speed["images_per_second"].note
    assert found.speed["images_per_second"].value is None
    assert note.startswith("measuring failed: ")
    assert "toys" in note
    assert "\n" not in note


def test_a_process_that_dies_between_rounds_is_an_error(planned) -> None:
    case = planned(overrides=("measure.latency=false", "measure.training=false")).cases[0]
    with MeasuringProcess(case, "cpu") as measuring:
        measuring.round()
        measuring._process.kill()
        measuring._process.wait()
        with pytest.raises(MlbenchError, match=r"^killed by signal 9 \(out of memory\?\)$"):
            measuring.round()


def test_stages_are_those_of_the_suite(planned) -> None:
    def stages(*overrides: str) -> list[str]:
        return MeasuringProcess(planned(overrides=overrides).cases[0], "cpu").stages

    assert stages() == ["inference", "latency", "training"]
    assert stages("measure.latency=false") == ["inference", "training"]
    assert stages("recipe.epochs=0", "measure.latency=false") == ["inference"]
    assert stages("measure.onnx=true", "measure.training=false") == ["inference", "latency", "onnx"]


def test_the_key_is_equal_for_seeds_and_differs_for_settings_that_change_speed(planned) -> None:
    first, second = planned("seeds: [0, 1]\n").cases
    assert measurement_key(first) == measurement_key(second)
    for override in ("neck.dim=16", "precision=bf16", "measure.batch_size=8", "loss.margin=0.2"):
        assert measurement_key(planned(overrides=(override,)).cases[0]) != measurement_key(first)
    untrained = ("measure.training=false",)
    quick, other = (planned(overrides=(*untrained, *more)).cases[0] for more in ((), ("loss.margin=0.2",)))
    assert measurement_key(quick) == measurement_key(other)


def test_values_unknown_for_one_reason_share_a_note() -> None:
    unknown = Timing(None, note="out of memory at batch size 1")
    found = Measurement({"latency_p50": unknown, "latency_p95": unknown, "images_per_second": Timing(0.1)})
    assert found.notes == ("latency_p50, latency_p95 not known: out of memory at batch size 1",)


def test_a_measurement_on_a_disturbed_machine_is_noted() -> None:
    speed = {
        "images_per_second": Timing(9.0, (9.0, 9.0, 9.0), reference=(1.1, 1.2, 1.3)),
        "latency_p50": Timing(9.0, (9.0, 9.0, 9.0), reference=(1.0, 1.1, 2.0)),
        "onnx_images_per_second": Timing(9.0, (9.0, 9.0, 9.0)),
    }
    note = "measured on a disturbed machine: images_per_second; see run --measure-again"
    assert Measurement(speed, measured={"quiet": 1.0}).notes == (note,)
    assert Measurement(speed, measured={"quiet": None}).notes == ()
    assert Measurement(speed).notes == ()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_peak_of_training_does_not_depend_on_inference(planned) -> None:
    quick = ("measure.latency=false", "measure.rounds=1", "image.size=64")
    small, large = (
        measure(planned(overrides=(*quick, f"measure.batch_size={count}")).cases[0], "cpu").memory
        for count in (1, 2048)
    )
    assert large["peak_host"].value > small["peak_host"].value + (64 << 20)
    peaks = [each["training_peak_host"].value for each in (small, large)]
    assert abs(peaks[0] - peaks[1]) < 16 << 20


def test_a_stage_that_ends_the_process_in_a_round_does_not_affect_others(planned, tmp_path) -> None:
    """Training is killed in the second round, as the kernel kills a process out of memory."""
    flag = tmp_path / "now"
    case = planned(overrides=(f"loss={{name: killing, flag: {flag}}}",)).cases[0]
    with MeasuringProcess(case, "cpu") as measuring:
        measuring.round()
        flag.touch()
        for _ in range(2):
            measuring.round()
        found = measuring.result()
    note = "killed by signal 9 (out of memory?) at batch size 8"
    assert found.speed["training_images_per_second"].note == note
    for name in ("images_per_second", "latency_p50"):
        assert len(found.speed[name].rounds) == len(found.speed[name].reference) == 3
    assert undisturbed_notes(found) == [f"training_images_per_second not known: {note}"]


def test_output_of_libraries_is_not_an_answer(planned, tmp_path, monkeypatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ["PYTHONPATH"])))
    case = planned(overrides=("measure.latency=false", "measure.training=false", "measure.rounds=1")).cases[0]
    assert undisturbed_notes(measure(case, "cpu")) == []


def test_measuring_ends_its_process_when_interrupted(planned) -> None:
    case = planned(overrides=("measure.latency=false", "measure.training=false")).cases[0]
    with pytest.raises(MlbenchError, match="stop"), MeasuringProcess(case, "cpu") as measuring:  # noqa: PT012
        process = measuring._process
        assert process.poll() is None
        raise MlbenchError("stop")
    assert process.poll() is not None


def test_sizes_lists_every_measured_size(planned) -> None:
    case = planned(overrides=("measure.onnx=false", "recipe.epochs=0")).cases[0]
    watch = Stopwatch(case, "cpu", ("inference", "latency", "training", "onnx"), lambda stage: None)
    assert {*watch.size, *watch.failed, "onnx"} == set(SIZES)


def test_a_process_that_cannot_be_started_is_noted(planned, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("subprocess.Popen", none)
    found = measure(planned().cases[0], "cpu")
    note = "measuring failed: OSError: [Errno 12] Cannot allocate memory"
    assert found.speed["images_per_second"].note == note

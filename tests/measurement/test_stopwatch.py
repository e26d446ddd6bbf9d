from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import toys

from mlbench.measurement import stopwatch
from mlbench.measurement.reference_clock import ReferenceClock
from mlbench.measurement.server import serve
from mlbench.measurement.stopwatch import Stopwatch
from mlbench.measurement.subject import Subject, subjects_of


class Clock(ReferenceClock):
    """A clock whose reference workload takes a second."""

    def __init__(self) -> None:
        self.works = 0

    def beside(self, work: Callable, expected: float) -> tuple:
        self.works += 1
        return work(), 1.0


@pytest.fixture
def watch(planned, monkeypatch) -> Callable[..., Stopwatch]:
    monkeypatch.setattr(stopwatch, "ROUND_SECONDS", 0.001)

    def make(*overrides: str, stages: tuple[str, ...] = ("inference",)) -> Stopwatch:
        ((subject,), _) = subjects_of(planned(overrides=overrides).cases)
        return Stopwatch(Subject(subject.case, stages), "cpu", Clock(), (), lambda stage: None)

    return make


def test_a_round_has_the_stages_that_are_asked_for(watch) -> None:
    stages = ("inference", "latency", "training")
    measured = watch(stages=stages)
    assert measured.failed == {}
    assert set(measured.round(stages)) == set(stages)
    found = measured.round(["latency"])
    assert found["latency"]["seconds"].keys() == {"latency_p50", "latency_p95"}
    assert found["latency"]["reference"] == 1.0


def test_onnx_has_no_reference_on_another_device(watch) -> None:
    measured = watch()
    measured._device = torch.device("meta")
    measured._rounds = {"onnx": lambda: {"onnx_images_per_second": 0.1}}
    assert measured.round(["onnx"]) == {
        "onnx": {"seconds": {"onnx_images_per_second": 0.1}, "reference": None}
    }
    assert measured._clock.works == 0


@pytest.mark.parametrize(("precision", "lower"), [("highest", False), ("medium", True)])
def test_a_case_is_measured_in_its_own_precision(watch, precision: str, lower: bool) -> None:
    before = torch.backends.cudnn.allow_tf32
    measured = watch(f"compute.matmul_precision={precision}")
    seen = []

    def look() -> dict[str, float]:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return {}

    measured._rounds["inference"] = look
    measured.round(["inference"])
    assert seen == [(precision, lower)]
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_a_model_is_built_once_for_all_stages(watch, monkeypatch, frozen: str) -> None:
    built = []
    build = toys.ToyBackboneOptions.build
    monkeypatch.setattr(
        toys.ToyBackboneOptions, "build", lambda self, size: built.append(size) or build(self, size)
    )
    stages = ("inference", "latency", "training", "onnx")
    measured = watch(f"backbone.frozen={frozen}", stages=stages)
    assert measured.failed == {}
    assert set(measured.round(stages)) == set(stages)
    assert built == [16]
    # The frozen prefix is not trained, though inference takes its weights as trainable ones.
    measured._prepare_training()
    model = measured._model
    assert not any(each.requires_grad for each in model.backbone.frozen.parameters())
    assert model.neck.training


def test_memory_is_exact(watch) -> None:
    """The toy backbone's first map, 8 x 8 x 8 float32 for each image, is the largest; weights count too."""
    small, large = (watch(f"measure.batch_size={count}").memory["peak_cpu"] for count in (32, 64))
    assert watch("measure.batch_size=32").memory["peak_cpu"] == small
    image = 3 * 16 * 16
    assert (large - small) % 32 == 0
    assert (large - small) // 32 >= 4 * (image + 8 * 8 * 8)


def test_a_stage_that_fails_in_a_round_is_left_out_with_its_reason(watch) -> None:
    measured = watch(stages=("inference", "latency"))

    def lacking() -> dict[str, float]:
        raise MemoryError("no memory")

    measured._rounds["latency"] = lacking
    assert set(measured.round(["inference", "latency"])) == {"inference"}
    assert measured.failed == {"latency": "out of memory"}


def test_the_memory_of_training_counts_the_mean_of_the_weights_and_the_inputs(watch) -> None:
    def peak(*overrides: str) -> int:
        return watch(*overrides, stages=("training",)).memory["training_peak_cpu"]

    assert peak("recipe.ema=0.9") >= peak() + 4 * 560
    assert peak("recipe.batch_size=9") >= peak("recipe.batch_size=8") + 3 * 16 * 16


def test_the_memory_of_training_does_not_depend_on_inference(watch) -> None:
    both = ("inference", "training")
    peaks = [watch(f"measure.batch_size={n}", stages=both).memory["training_peak_cpu"] for n in (1, 512)]
    assert peaks[0] == peaks[1]
    adam, plain = (
        watch(f"recipe.optimizer={name}", stages=("training",)).memory["training_peak_cpu"]
        for name in ("adamw", "sgd")
    )
    assert adam > plain


def test_the_server_answers_each_request_once(planned, monkeypatch) -> None:
    monkeypatch.setattr("mlbench.measurement.server.ReferenceClock", lambda device: clock)
    monkeypatch.setattr(stopwatch, "ROUND_SECONDS", 0.001)
    clock = ReferenceClock("cpu")
    ((subject,), _) = subjects_of(planned(overrides=("measure.training=false",)).cases)
    requests = [
        {"load": subject, "number": 3, "unwanted": ["flops"]},
        {"number": 3, "stages": ["latency"]},
        {"clear": True},
    ]
    answers: list = []
    serve(({"device": "cpu", **each} for each in requests), answers.append)
    stages = ["model", "inference", "latency", "checkpoint_float32", "checkpoint_float16", "latency"]
    assert [each["stage"] for each in answers if "stage" in each] == stages
    load, found, end = (each for each in answers if "stage" not in each)
    assert (load["failed"], sorted(load["size"])) == ({}, ["checkpoint_float16", "checkpoint_float32"])
    assert found["failed"] == {}
    assert found["found"]["latency"]["reference"] >= end["reference_minimum"] == clock.minimum

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pytest
import torch
import toys

from mlbench.measurement import stopwatch
from mlbench.measurement.stopwatch import Stopwatch


@pytest.fixture
def watch(planned, monkeypatch):
    """A stopwatch of inference whose reference workload takes the given seconds."""

    def make(
        readings: Iterable[float], patience: float = 10, unwanted: str = "latency training"
    ) -> Stopwatch:
        times: Iterator[float] = iter(readings)

        class GivenSeconds:
            def __init__(self, device: torch.device) -> None:
                pass

            def seconds(self) -> float:
                return next(times)

        monkeypatch.setattr(stopwatch, "Reference", GivenSeconds)
        monkeypatch.setattr(stopwatch, "ROUND_SECONDS", 0.001)
        monkeypatch.setattr(stopwatch, "SHARE", 0.0)
        sizes = ("flops", "checkpoint_float32", "checkpoint_float16", "onnx")
        case = planned(overrides=(f"measure.patience={patience}",)).cases[0]
        return Stopwatch(case, "cpu", (*sizes, *unwanted.split()), lambda stage: None)

    return make


def found(each: dict) -> tuple[float, int]:
    inference = each["inference"]
    assert inference["seconds"].keys() == {"images_per_second"}
    return inference["reference"], inference["repeated"]


def test_a_disturbed_measurement_is_repeated_and_the_least_disturbed_counts(watch) -> None:
    # Before and after each measurement: undisturbed; slightly slower; disturbed, disturbed before,
    # undisturbed; disturbed, slightly slower.
    readings = [1.0, 1.0, 1.0, 1.2, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.1]
    rounds = watch(readings)
    assert [found(rounds.round()) for _ in range(4)] == [(1.0, 0), (1.1, 0), (1.0, 2), (1.05, 1)]


def test_without_patience_disturbed_measurements_count(watch) -> None:
    rounds = watch([1.0, 1.0, 2.0, 3.0, 4.0, 5.0], patience=0)
    assert [found(rounds.round()) for _ in range(3)] == [(1.0, 0), (2.5, 0), (4.5, 0)]
    # Nothing was repeated, so the minimum is not raised.
    assert found(watch([1.16, 1.16, 1.0, 1.0]).round()) == (1.0, 1)


def test_patience_ends_for_each_stage_and_the_minimum_is_raised_once(watch) -> None:
    rounds = watch(itertools.chain([1.0] * 4, itertools.repeat(2.0)), patience=0.5, unwanted="training")
    first, second, third = (rounds.round() for _ in range(3))
    for stage in ("inference", "latency"):
        assert (first[stage]["reference"], first[stage]["repeated"]) == (1.0, 0)
        assert second[stage]["reference"] == third[stage]["reference"] == 2.0
        assert second[stage]["repeated"] > 0
        assert third[stage]["repeated"] == 0
        assert third[stage]["quiet"] == 1.0
    # The limit for other processes is 2 % higher.
    assert found(watch([1.16, 1.16]).round()) == (1.16, 0)
    assert found(watch([1.18, 1.18, 1.0, 1.0]).round()) == (1.0, 1)


def test_the_reference_runs_for_a_share_of_the_measured_time(watch, monkeypatch) -> None:
    readings = itertools.count(1)
    rounds = watch(1.0 + 0 * each for each in readings)
    monkeypatch.setattr(stopwatch, "SHARE", 0.5)
    rounds.round()
    assert next(readings) > 4  # one before, and several after


def test_onnx_has_no_reference_on_another_device(watch) -> None:
    rounds = watch([])
    rounds._device = torch.device("meta")
    rounds._rounds = {"onnx": lambda: {"onnx_images_per_second": 0.1}}
    expected = {"seconds": {"onnx_images_per_second": 0.1}, "reference": None, "repeated": 0, "quiet": None}
    assert rounds.round() == {"onnx": expected}


def test_another_process_knows_the_minimum(watch) -> None:
    watch([1.0, 1.0]).round()
    assert found(watch([2.0, 2.0, 1.0, 1.0]).round()) == (1.0, 1)


@pytest.mark.parametrize(("precision", "lower"), [("highest", False), ("medium", True)])
def test_a_case_is_measured_in_its_own_precision(watch, planned, precision: str, lower: bool) -> None:
    before = torch.backends.cudnn.allow_tf32
    watch([1.0] * 4)
    case = planned(overrides=(f"compute.matmul_precision={precision}",)).cases[0]
    unwanted = ("flops", "checkpoint_float32", "checkpoint_float16", "latency", "training", "onnx")
    seen = []

    def lines() -> Iterator[str]:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        yield "round"

    task = {"case": case, "device": "cpu", "unwanted": unwanted}
    stopwatch.serve(task, lines(), lambda answer: None)
    assert seen == [(precision, lower)]
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_a_model_is_built_once_for_all_stages(planned, monkeypatch, frozen: str) -> None:
    built = []
    build = toys.ToyBackboneOptions.build
    monkeypatch.setattr(
        toys.ToyBackboneOptions, "build", lambda self, size: built.append(size) or build(self, size)
    )
    monkeypatch.setattr(stopwatch, "ROUND_SECONDS", 0.001)
    monkeypatch.setattr(stopwatch, "SHARE", 0.0)
    case = planned(overrides=(f"backbone.frozen={frozen}", "measure.patience=0")).cases[0]
    watch = Stopwatch(case, "cpu", (), lambda stage: None)
    assert watch.failed == {}
    assert set(watch.round()) == {"inference", "latency", "training", "onnx"}
    assert built == [16]
    # The frozen prefix is not trained, though inference takes its weights as trainable ones.
    watch._prepare_training()
    model = watch._model
    assert not any(each.requires_grad for each in model.backbone.frozen.parameters())
    assert model.neck.training

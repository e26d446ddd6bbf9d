from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mlbench.measurement import stopwatch
from mlbench.measurement.stopwatch import Stopwatch


@pytest.fixture
def watch(planned, monkeypatch):
    """A stopwatch of inference beside a reference workload that takes what it is told to."""

    def make(readings: list[float], patience: float = 10) -> Stopwatch:
        times: Iterator[float] = iter(readings)

        class Told:
            def __init__(self, device: torch.device) -> None:
                pass

            def seconds(self) -> float:
                return next(times)

        monkeypatch.setattr(stopwatch, "Reference", Told)
        unwanted = {"latency", "training", "onnx", "flops", "checkpoint_float32", "checkpoint_float16"}
        case = planned(overrides=(f"measure.patience={patience}",)).cases[0]
        return Stopwatch(case, "cpu", unwanted, lambda stage: None)

    return make


def found(each: dict) -> tuple[float, int]:
    inference = each["inference"]
    assert inference["seconds"].keys() == {"images_per_second"}
    return inference["reference"], inference["repeated"]


def test_a_disturbed_time_is_taken_again_and_the_least_disturbed_counts(watch) -> None:
    # On both sides of each time: quiet; a little more; disturbed, disturbed before, quiet; disturbed again.
    readings = [1.0, 1.0, 1.0, 1.2, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.1]
    rounds = watch(readings)
    assert [found(rounds.round()) for _ in range(4)] == [(1.0, 0), (1.1, 0), (1.0, 2), (1.05, 1)]


def test_without_patience_what_is_disturbed_counts(watch) -> None:
    rounds = watch([1.0, 1.0, 2.0, 3.0, 4.0, 5.0], patience=1e-9)
    assert [found(rounds.round()) for _ in range(3)] == [(1.0, 0), (2.5, 0), (4.5, 0)]
    # Waiting in vain leaves doubt, once: what other processes take for disturbed has moved by 2 %.
    assert found(watch([1.16, 1.16]).round()) == (1.16, 0)
    assert found(watch([1.18, 1.18, 1.0, 1.0]).round()) == (1.0, 1)
    assert found(watch([2.0, 2.0], patience=0).round()) == (2.0, 0)


def test_another_process_knows_what_is_quiet(watch) -> None:
    watch([1.0, 1.0]).round()
    assert found(watch([2.0, 2.0, 1.0, 1.0]).round()) == (1.0, 1)

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pytest
import torch

from mlbench.measurement import reference_clock
from mlbench.measurement.reference_clock import ReferenceClock


@pytest.fixture
def clock(monkeypatch):
    """A clock whose reference workload takes the given seconds."""

    def make(readings: Iterable[float]) -> ReferenceClock:
        times: Iterator[float] = iter(readings)

        class GivenSeconds:
            def __init__(self, device: torch.device) -> None:
                pass

            def seconds(self) -> float:
                return next(times)

        monkeypatch.setattr(reference_clock, "Reference", GivenSeconds)
        return ReferenceClock("cpu")

    return make


def test_the_reference_is_the_mean_before_and_after(clock) -> None:
    here = clock([1.0, 2.0, 1.0, 1.1])
    assert here.beside(lambda: "done", 0.0) == ("done", 1.5)
    assert here.beside(lambda: None, 0.0)[1] == 1.05
    assert here.minimum == 1.05


def test_the_reference_runs_for_a_share_of_the_work(clock) -> None:
    readings = itertools.count(1)
    clock(1.0 + 0 * each for each in readings).beside(lambda: None, 0.02)
    assert next(readings) > 4  # one before and one after would be two


def test_another_process_knows_the_minimum_and_raises_it_where_it_comes_nowhere_near(clock) -> None:
    clock([1.0, 1.0]).beside(lambda: None, 0.0)
    near, far, next_one = clock([1.1, 1.1]), clock([2.0, 2.0]), None
    near.beside(lambda: None, 0.0)
    near.close()
    assert clock([]).minimum == 1.0
    far = clock([2.0, 2.0])
    far.beside(lambda: None, 0.0)
    far.close()
    next_one = clock([])
    assert next_one.minimum == 1.02
    next_one.close()  # it measured nothing
    assert clock([]).minimum == 1.02

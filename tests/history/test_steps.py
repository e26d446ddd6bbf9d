from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import StoreError
from mlbench.history.steps import ENOUGH, Step, exact_steps, find_steps, noise


def test_a_step_of_a_series_without_noise_is_exact() -> None:
    assert find_steps([0.8] * 4 + [0.7] * 3) == (
        Step(4, pytest.approx(0.8), pytest.approx(0.7), pytest.approx(-0.1), pytest.approx(-0.1)),
    )


def test_a_constant_series_and_a_short_one_have_no_step() -> None:
    assert find_steps([0.8] * 20) == ()
    assert find_steps([0.8] * (ENOUGH - 3) + [0.1] * 2) == ()
    assert find_steps([]) == ()


def test_one_value_apart_is_no_step() -> None:
    for place in range(12):
        values = [1.0, 1.01] * 6
        values[place] = 0.5
        assert find_steps(values) == (), place


def test_steps_lie_where_the_means_change_and_nowhere_else() -> None:
    generator = np.random.default_rng(0)
    means = np.repeat([1.0, 0.8, 1.1], [10, 8, 12])
    found = find_steps([*(means + 0.02 * generator.normal(size=30))])
    assert [step.at for step in found] == [10, 18]
    for step, before, after in zip(found, (1.0, 0.8), (0.8, 1.1), strict=True):
        assert step.low < after - before < step.high
        assert step.before == pytest.approx(before, abs=0.02)
        assert step.after == pytest.approx(after, abs=0.02)


def test_noise_of_successive_differences_by_hand() -> None:
    assert noise([1.0, 3.0, 2.0]) == pytest.approx(((4 + 1) / 4) ** 0.5)
    assert noise([1.0, 3.0, 2.0, 9.0], {3}) == noise([1.0, 3.0, 2.0])
    assert noise([5.0]) == 0


def test_exact_steps_are_all_changes() -> None:
    assert exact_steps([5, 5, 6, 6, 4]) == (Step(2, 5, 6, 1, 1), Step(4, 6, 4, -2, -2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(0.5, 100), st.floats(-50, 50))
def test_places_depend_on_neither_unit_nor_zero(values: list[float], unit: float, zero: float) -> None:
    values = [round(value, 3) for value in values]
    moved = [round(zero, 3) + round(unit, 2) * value for value in values]
    assert [step.at for step in find_steps(values)] == [step.at for step in find_steps(moved)]


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(StoreError, match=r"publish needs mlbench\[publish\]"):
        find_steps([1.0] * 9)

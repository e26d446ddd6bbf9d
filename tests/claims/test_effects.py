"""Effects against scipy's t tests."""

from __future__ import annotations

import math
from statistics import stdev

import numpy as np
import pytest
from scipy import stats

from mlbench.claims.effects import effect_of, exact_effect, transformed


@pytest.mark.parametrize("bound", [0.0, 0.3, -0.2])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_effect_as_by_the_t_test(count: int, bound: float) -> None:
    values = list(np.random.default_rng(count).normal(0.2, 1, count))
    effect = effect_of(values, bound=bound)
    oracle = stats.ttest_1samp(values, bound, alternative="greater")
    assert effect.support == pytest.approx(oracle.pvalue)
    assert effect.refute == pytest.approx(1 - oracle.pvalue)
    interval = stats.ttest_1samp(values, bound).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert (effect.samples, effect.kind, effect.spread) == (count, "seeds", pytest.approx(stdev(values)))


def test_at_most_swaps_the_sides() -> None:
    above, below = effect_of([1.0, 2, 4]), effect_of([1.0, 2, 4], at_most=True)
    assert (above.support, above.refute) == (below.refute, below.support)
    assert above.support < 0.1 < below.support


def test_a_single_sample_shows_nothing() -> None:
    effect = effect_of([5.0])
    assert (effect.low, effect.high, effect.support, effect.refute, effect.needed) == (None, None, 1, 1, None)


@pytest.mark.parametrize(("value", "support", "refute"), [(0.4, 1 / 8, 1), (0.0, 1, 1 / 8), (0.1, 1, 1)])
def test_equal_samples_are_judged_by_the_sign_test(value: float, support: float, refute: float) -> None:
    effect = effect_of([value] * 3, bound=0.1)
    assert (effect.support, effect.refute) == (support, refute)
    assert effect.low == effect.high == pytest.approx(value)
    assert effect.needed == (None if value == 0.1 else 6)  # 2 * 2^-6 is below 5 %, 2 * 2^-5 is not


def test_needed_seeds_have_the_power() -> None:
    """Against the noncentral t distribution."""
    effect = effect_of([0.0, 1.0, 2.0], bound=0.2)
    assert effect.needed is not None

    def power(count: int) -> float:
        critical = stats.t.isf(0.025, count - 1)
        return float(stats.nct.sf(critical, count - 1, 0.8 * math.sqrt(count)))

    assert power(effect.needed) >= 0.8 > power(effect.needed - 1)


def test_rounds_need_no_seeds() -> None:
    effect = effect_of([0.1, 0.2, 0.3], kind="rounds")
    assert (effect.needed, effect.spread, effect.kind) == (None, None, "rounds")


@pytest.mark.parametrize(
    ("value", "at_most", "support"), [(2, False, 0), (1, False, 1), (1, True, 0), (2, True, 1)]
)
def test_exact_effects_are_above_the_bound_or_not(value: float, at_most: bool, support: float) -> None:
    effect = exact_effect(value, bound=1, at_most=at_most)
    assert (effect.support, effect.refute) == (support, 1 - support)
    assert (effect.kind, effect.low, effect.high) == ("exact", value, value)


def test_transformed_keeps_the_tests() -> None:
    given = effect_of([0.1, 0.2, 0.4], bound=math.log(1.1))
    effect = transformed(given, 1.1, math.exp)
    assert (effect.value, effect.low, effect.bound) == (math.exp(given.value), math.exp(given.low), 1.1)
    assert (effect.support, effect.refute) == (given.support, given.refute)

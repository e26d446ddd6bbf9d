"""Statistics against scipy.stats, by hand, and by simulation with fixed seeds."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlbench.regression import statistics
from mlbench.regression.statistics import (
    paired_interval,
    rank_interval,
    ranks_needed,
    samples_needed,
    t_power,
)


@pytest.mark.parametrize("count", [2, 3, 5, 38, 200])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.9999])
def test_paired_interval_is_the_confidence_interval_of_scipy(count: int, level: float) -> None:
    differences = np.random.default_rng(count).normal(0.3, 2, count)
    found = paired_interval(differences.tolist(), level)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(level)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_paired_interval_by_hand() -> None:
    found = paired_interval([1.0, 2.0, 3.0], 0.95)
    # The mean is 2, the standard deviation 1, the 97.5 % quantile of t with 2 degrees of freedom 4.302653.
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-6)


def test_paired_interval_of_one_difference_is_none() -> None:
    assert paired_interval([0.1], 0.95) is None


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_paired_interval_has_its_coverage(level: float) -> None:
    generator = random.Random(1)
    hits = 0
    for _ in range(2000):
        found = paired_interval([generator.gauss(0.3, 2) for _ in range(4)], level)
        assert found is not None
        hits += found.low <= 0.3 <= found.high
    assert abs(hits / 2000 - level) < 4 * (level * (1 - level) / 2000) ** 0.5


def test_rank_interval_by_hand() -> None:
    # Of the 70 orders of four and four samples only the 2 extreme ones are below 5 %: all sixteen shifts.
    found = rank_interval([1.0, 2.0, 4.0, 8.0], [10.0, 20.0, 40.0, 80.0], 0.95)
    assert found is not None
    assert (found.low, found.high) == (2.0, 79.0)
    shifts = sorted(b - a for a in (1, 2, 4, 8) for b in (10, 20, 40, 80))
    assert found.value == (shifts[7] + shifts[8]) / 2


def test_rank_interval_of_three_against_three_is_none() -> None:
    assert rank_interval([1.0, 2.0, 3.0], [11.0, 12.0, 13.0], 0.95) is None
    assert ranks_needed(0.95) == 4


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (7, 7), (15, 12)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_rank_interval_excludes_zero_when_the_exact_test_rejects(size: tuple[int, int], level: float) -> None:
    generator = np.random.default_rng(0)
    decided = set()
    for shift in np.linspace(-2, 2, 41):
        before, after = generator.normal(0, 1, size[0]), generator.normal(shift, 1, size[1])
        found = rank_interval(before.tolist(), after.tolist(), level)
        rejected = stats.mannwhitneyu(before, after, method="exact").pvalue <= 1 - level
        decided.add(bool(rejected))
        assert (found is not None and (found.low > 0 or found.high < 0)) == rejected
    assert decided == {True, False} or size == (4, 4)


def test_rank_interval_counts_all_orders() -> None:
    # Brute force over all orders of 3 and 6 samples: the interval at 95 % is where P(U < k) <= 2.5 %.
    ranks = [sum(chosen) - 6 for chosen in combinations(range(1, 10), 3)]
    critical = max(k for k in range(19) if sum(u < k for u in ranks) <= 0.025 * len(ranks))
    before, after = [0.0, 0.1, 0.3], [10.0, 11.0, 13.0, 17.0, 25.0, 41.0]
    shifts = sorted(b - a for a in before for b in after)
    found = rank_interval(before, after, 0.95)
    assert found is not None
    assert (found.low, found.high) == (shifts[critical - 1], shifts[-critical])


def test_rank_interval_of_many_samples_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    before, after = generator.normal(0, 1, 60).tolist(), generator.normal(0.3, 1, 50).tolist()
    counted = rank_interval(before, after, 0.95)
    monkeypatch.setattr(statistics, "_COUNTED", 100)
    monkeypatch.setattr(statistics, "_critical_rank", statistics._critical_rank.__wrapped__)
    normal = rank_interval(before, after, 0.95)
    assert counted is not None
    assert normal is not None
    assert (normal.low, normal.high) == pytest.approx((counted.low, counted.high), abs=0.02)


def test_rank_interval_has_at_least_its_coverage() -> None:
    generator = random.Random(2)
    hits = 0
    for _ in range(1000):
        before = [generator.expovariate(1) for _ in range(7)]
        after = [generator.expovariate(1) + 0.5 for _ in range(7)]
        found = rank_interval(before, after, 0.95)
        assert found is not None
        hits += found.low <= 0.5 <= found.high
    assert hits >= 940


numbers = st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=9)


@given(numbers, numbers)
def test_rank_interval_of_swapped_sides_is_mirrored(before: list[float], after: list[float]) -> None:
    found, swapped = rank_interval(before, after, 0.95), rank_interval(after, before, 0.95)
    assert found is not None
    assert swapped is not None
    assert (swapped.value, swapped.low, swapped.high) == (-found.value, -found.high, -found.low)


@pytest.mark.parametrize("pairs", [2, 3, 5, 17, 100, 500])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.3, 4.0])
def test_t_power_equals_the_noncentral_t_distribution(pairs: int, effect: float) -> None:
    critical = stats.t.ppf(0.975, pairs - 1)
    expected = stats.nct.sf(critical, pairs - 1, effect * pairs**0.5)
    assert t_power(pairs, effect, 0.95) == pytest.approx(expected, abs=1e-12)


def test_t_power_is_one_where_scipy_gives_nan() -> None:
    assert t_power(66, 4.85, 0.95) == 1
    assert samples_needed(1, 4.85) == 3


@pytest.mark.parametrize(("spread", "expected"), [(0.37, 7), (0.73, 19), (0.01, 2)])
def test_samples_needed_to_detect_half_a_point(spread: float, expected: int) -> None:
    assert samples_needed(spread, 0.5) == expected
    if expected > 2:
        assert t_power(expected, 0.5 / spread, 0.95) >= 0.8 > t_power(expected - 1, 0.5 / spread, 0.95)


def test_samples_needed_for_a_tiny_difference_is_none() -> None:
    assert samples_needed(50, 0.5) is None
    assert samples_needed(1, 0) is None


def test_samples_needed_are_enough_in_simulation() -> None:
    count = samples_needed(0.01, 0.02)
    assert count is not None
    generator = random.Random(3)
    seen = 0
    for _ in range(2000):
        found = paired_interval([generator.gauss(-0.02, 0.01) for _ in range(count)], 0.95)
        assert found is not None
        seen += found.high < 0
    assert seen / 2000 >= 0.78

from __future__ import annotations

import math

import numpy as np
import pytest

from mlbench.seeding import numpy_generator
from mlbench.tuning.noise import Noise, chance_gain, noise_of_intervals, noise_of_repeats


def test_noise_of_repeats_is_their_standard_deviation_and_falls_with_the_seeds_of_a_trial() -> None:
    found = noise_of_repeats([0.1, 0.2, 0.3], seeds=1)
    assert found == Noise(
        pytest.approx(0.1), 2, "the standard deviation over 3 seeds of the default settings"
    )
    assert noise_of_repeats([0.1, 0.2, 0.3], seeds=4).deviation == pytest.approx(0.05)
    assert noise_of_repeats([0.1], seeds=1) is None


def test_noise_of_intervals_is_that_of_the_calibration_classes() -> None:
    # A 95 % interval is 3.92 standard deviations wide; 4 times the classes halve the deviation.
    found = noise_of_intervals([0.392, 0.392, 9.0], 0.95, test_classes=100, calibration_classes=400, seeds=1)
    assert found is not None
    assert found.deviation == pytest.approx(0.05, rel=1e-3)
    assert found.freedom is None
    assert found.source.startswith("the median 95% interval over test classes, for 400 calibration classes")
    assert noise_of_intervals([], 0.95, 100, 100, 1) is None
    assert noise_of_intervals([0.1], 0.95, 0, 100, 1) is None


@pytest.mark.parametrize(
    ("count", "expected"),
    # Expected greatest of n standard normal numbers: known for 2 and 3, from tables for 31.
    [(2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (31, 2.0569)],
)
def test_chance_gives_the_best_of_many_the_expected_greatest_of_as_many_normal_numbers(
    count: int, expected: float
) -> None:
    found = chance_gain(Noise(0.01, None, ""), count, 0.0, numpy_generator(0, "x"))
    assert found.expected == pytest.approx(0.01 * expected, rel=0.02)
    assert (found.count, found.share) == (count, 1.0)


def test_chance_share_is_that_of_a_naive_simulation() -> None:
    rng = np.random.default_rng(3)
    naive = [max(draw) - sum(draw) / 5 for draw in rng.normal(0, 2, (4000, 5)).tolist()]
    found = chance_gain(Noise(2.0, None, ""), 5, 3.0, numpy_generator(1, "x"))
    assert found.share == pytest.approx(np.mean([each >= 3 for each in naive]), abs=0.03)
    assert found.most == pytest.approx(np.quantile(naive, 0.95), rel=0.05)


def test_a_noise_from_few_repeats_makes_the_limit_wider_and_not_the_expectation() -> None:
    sure, unsure = (
        chance_gain(Noise(1.0, freedom, ""), 10, 2.0, numpy_generator(0, "x")) for freedom in (None, 2)
    )
    assert unsure.expected == sure.expected
    assert unsure.most > 1.5 * sure.most
    assert unsure.share > sure.share


def test_chance_is_the_same_for_the_same_generator() -> None:
    first, second = (chance_gain(Noise(1.0, 4, ""), 10, 2.0, numpy_generator(5, "x")) for _ in range(2))
    assert first == second


def test_without_noise_chance_gives_nothing() -> None:
    found = chance_gain(Noise(0.0, 4, ""), 10, 0.1, numpy_generator(0, "x"))
    assert (found.expected, found.most, found.share) == (0, 0, 0)

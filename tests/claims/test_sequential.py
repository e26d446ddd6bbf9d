"""Boundaries of tests that are repeated while seeds are added."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from mlbench.claims import sequential
from mlbench.claims.sequential import boundaries, sequential_p
from mlbench.deciding import next_count

LOOKS = (3, 4, 5, 7, 9, 12, 15, 19, 20)


@pytest.fixture
def full_shares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Boundaries of a normal process, whose looks spend all of their share."""
    monkeypatch.setattr(sequential, "_LATER", 1.0)
    sequential._boundaries.cache_clear()
    yield
    sequential._boundaries.cache_clear()


def z_values(looks: tuple[int, ...], most: int, alpha: float) -> list[float]:
    return [float(norm.isf(p / 2)) for p in boundaries(looks, most, alpha)]


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_a_single_look_at_the_last_seed_spends_alpha(alpha: float) -> None:
    assert boundaries((20,), 20, alpha) == pytest.approx((alpha,), rel=1e-6)
    assert sequential_p([alpha], (20,), 20) == pytest.approx(alpha, rel=1e-3)


def test_the_first_look_spends_its_share() -> None:
    assert boundaries((3, 4), 20, 0.05)[0] == pytest.approx(0.05 * 3 / 20, rel=1e-6)


@pytest.mark.parametrize(
    ("looks", "most"),
    [((1, 2), 2), ((3, 4), 20), ((3, 20), 20), ((2, 5), 50), ((1, 2, 3, 4, 5), 5), ((3, 5, 9, 20), 20)],
)
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_all_looks_as_by_the_multivariate_normal_distribution(
    full_shares: None, looks: tuple[int, ...], most: int, alpha: float
) -> None:
    """Lan and DeMets with linear spending: alpha * t is spent at every time t."""
    bounds = z_values(looks, most, alpha)
    for count in range(1, len(looks) + 1):
        times, limit = np.array(looks[:count]), np.array(bounds[:count])
        correlations = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
        generator = np.random.default_rng(0)
        inside = multivariate_normal.cdf(
            limit, cov=correlations, lower_limit=-limit, abseps=3e-6, releps=1e-6, rng=generator
        )
        assert 1 - inside == pytest.approx(alpha * times[-1] / most, rel=5e-3)


def test_all_looks_as_by_simulation_of_brownian_motion(full_shares: None) -> None:
    times = np.array(LOOKS) / 20
    moves = np.random.default_rng(0).standard_normal((40_000, len(LOOKS))) * np.sqrt(
        np.diff(times, prepend=0)
    )
    statistics = np.abs(moves.cumsum(axis=1)) / np.sqrt(times)
    crossed = np.maximum.accumulate(statistics >= z_values(LOOKS, 20, 0.2), axis=1).mean(axis=0)
    assert crossed == pytest.approx(0.2 * times, abs=0.007)


@pytest.mark.parametrize(("most", "start"), [(10, 2), (10, 3), (20, 2), (20, 3), (20, 8)])
def test_t_tests_of_few_seeds_reject_in_at_most_alpha(most: int, start: int) -> None:
    from scipy.special import stdtr

    looks = [start]
    while looks[-1] < most:
        looks.append(next_count(looks[-1], most))
    draws = np.random.default_rng(1).standard_normal((40_000, most))
    rejected = np.zeros(len(draws), bool)
    for count, bound in zip(looks, boundaries(tuple(looks), most, 0.05), strict=True):
        part = draws[:, :count]
        statistic = part.mean(axis=1) / part.std(axis=1, ddof=1) * count**0.5
        rejected |= 2 * stdtr(count - 1, -np.abs(statistic)) <= bound
    assert 0.04 <= rejected.mean() <= 0.05 + 2 * 0.0011


def searched_p(p_values: list[float], looks: tuple[int, ...], most: int) -> float:
    """The smallest alpha that rejects, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        bounds = boundaries(looks, most, middle)
        rejects = any(p <= bound for p, bound in zip(p_values, bounds, strict=True))
        low, high = (low, middle) if rejects else (middle, high)
    return high


@pytest.mark.parametrize("seed", range(6))
def test_the_p_value_is_the_smallest_alpha_that_rejects(seed: int) -> None:
    generator = np.random.default_rng(seed)
    looks = LOOKS[: generator.integers(1, 6)]
    p_values = list(10 ** -generator.uniform(0.5, 5, len(looks)))
    expected = searched_p(p_values, looks, 20)
    assert sequential_p(p_values, looks, 20) == pytest.approx(expected, rel=2e-3)


def test_p_values_at_the_ends() -> None:
    assert sequential_p([1.0, 1.0], (3, 4), 20) == 1
    assert sequential_p([1e-40, 1.0], (3, 4), 20) == pytest.approx(1e-9)


def test_a_later_look_never_raises_the_p_value() -> None:
    p_values = [0.3, 0.001, 0.9, 0.2]
    found = [sequential_p(p_values[:count], LOOKS[:count], 20) for count in range(1, 5)]
    assert found == sorted(found, reverse=True)

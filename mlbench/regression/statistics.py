"""Statistics of few samples: paired t intervals, rank-test intervals, and how many samples it takes.

Written on the standard library, so that a comparison answers at once. Everything here is exact up to
rounding, apart from ranks of so many samples that their distribution is normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, median, stdev

__all__ = [
    "Interval",
    "paired_interval",
    "rank_interval",
    "ranks_needed",
    "samples_needed",
    "t_cdf",
    "t_power",
    "t_quantile",
]

#: Products of sample sizes up to which the distribution of the rank sum is counted out.
_COUNTED = 10_000

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def paired_interval(differences: Sequence[float], level: float) -> Interval | None:
    """Mean of paired differences with Student's t interval; None for fewer than two.

    Differences without any spread have an interval without width.
    """
    if len(differences) < 2:
        return None
    mean = fmean(differences)
    margin = t_quantile((1 + level) / 2, len(differences) - 1) * stdev(differences)
    margin /= math.sqrt(len(differences))
    return Interval(mean, mean - margin, mean + margin)


def rank_interval(before: Sequence[float], after: Sequence[float], level: float) -> Interval | None:
    """By how much `after` lies above `before`: Hodges and Lehmann's estimate, the median of all differences,
    and the interval of all shifts that the two-sided Mann-Whitney test does not reject at 1 - level.

    The samples are independent. None where they are so few that the test can reject nothing. Zero lies
    outside the interval exactly when the test says that the two differ (with ties: at most then).
    """
    rank = _critical_rank(len(before), len(after), (1 - level) / 2)
    if rank < 1:
        return None
    shifts = sorted(b - a for a in before for b in after)
    return Interval(median(shifts), shifts[rank - 1], shifts[-rank])


def ranks_needed(level: float) -> int:
    """Samples on either side from which on `rank_interval` has an answer."""
    return next(n for n in range(1, 1000) if _critical_rank(n, n, (1 - level) / 2) >= 1)


def samples_needed(
    spread: float, difference: float, *, power: float = 0.8, level: float = 0.95, most: int = 1000
) -> int | None:
    """Pairs with which the paired t test sees a true difference with this probability (power).

    spread: standard deviation of the paired differences, above zero. None where more than `most` are needed.
    """
    if difference <= 0 or t_power(most, difference / spread, level) < power:
        return None
    low, high = 1, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_power(middle, difference / spread, level) >= power else (middle, high)
    return high


def t_power(pairs: int, effect: float, level: float) -> float:
    """Probability that the interval of so many pairs leaves out zero, on the right side.

    effect: true difference over the standard deviation of the differences. The noncentral t distribution:
    the normal probability given the sample's spread, averaged over that spread.
    """
    freedom = pairs - 1
    critical = t_quantile((1 + level) / 2, freedom)
    shift = effect * math.sqrt(pairs)

    def joint(spread: float) -> float:
        # spread is s/sigma, and freedom times its square is chi-squared.
        log_density = (
            math.log(2)
            + freedom / 2 * math.log(freedom / 2)
            - math.lgamma(freedom / 2)
            + (freedom - 1) * math.log(spread)
            - freedom * spread * spread / 2
        )
        return math.exp(log_density) * _NORMAL.cdf(shift - critical * spread)

    width = 10 / math.sqrt(2 * freedom)  # ten standard deviations of it, about
    low, high = max(1e-12, 1 - width), 1 + width
    steps = 2000
    step = (high - low) / steps
    inner = sum((4 if k % 2 else 2) * joint(low + k * step) for k in range(1, steps))
    return step / 3 * (joint(low) + inner + joint(high))


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution. probability: between 0 and 1, both excluded."""
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    high = 1.0
    while t_cdf(high, freedom) < probability:
        high *= 2
    return _root(lambda t: t_cdf(t, freedom) - probability, 0.0, high)


def t_cdf(value: float, freedom: int) -> float:
    """Distribution function of Student's t, by the finite sums for whole degrees of freedom (Abramowitz and
    Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(value, math.sqrt(freedom))
    odd = freedom % 2
    term = math.sin(angle) * (math.cos(angle) if odd else 1)
    total = 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= k / (k + 1) * math.cos(angle) ** 2
    return 0.5 + (angle + total) / math.pi if odd else 0.5 + total / 2


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function is zero, by halving until no float lies between."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return high


@cache
def _critical_rank(n: int, m: int, tail: float) -> int:
    """The largest k for which U, the Mann-Whitney statistic of n and m samples, is below k with a probability
    of at most `tail` where nothing differs."""
    n, m = sorted((n, m))  # the same either way, and faster
    if n * m > _COUNTED:
        return math.floor(NormalDist(n * m / 2, math.sqrt(n * m * (n + m + 1) / 12)).inv_cdf(tail) + 0.5)
    total, below = math.comb(n + m, n), 0
    for k, count in enumerate(_rank_counts(n, m)):
        below += count
        if below > tail * total:
            return k
    return 0


def _rank_counts(n: int, m: int) -> list[int]:
    """In how many of the orders of n and m samples U is 0, 1, 2 ...: the coefficients of the product of
    (1 - q^(m+i)) / (1 - q^i) over i to n."""
    size = n * m + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for k in range(size - 1, m + i - 1, -1):
            counts[k] -= counts[k - m - i]
        for k in range(i, size):
            counts[k] += counts[k - i]
    return counts

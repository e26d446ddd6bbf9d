"""Statistics of few samples: paired t intervals, Mann-Whitney intervals, and numbers of samples needed.

scipy is imported where it is called, and only scipy.special: importing scipy.stats takes three times as long
(0.7 s), which every `mlbench check` would pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, median, stdev

__all__ = [
    "Interval",
    "median_interval",
    "paired_interval",
    "rank_interval",
    "ranks_needed",
    "samples_needed",
    "t_power",
]

#: Largest product of the sample sizes for which the distribution of U is counted exactly.
_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def median_interval(values: Sequence[float], level: float) -> Interval | None:
    """Median, with the order statistics between which it lies by the sign test, whatever the distribution.

    None for too few values: 6 are needed for a level of 0.95.
    """
    count = len(values)
    below, rank = 1, 0  # of 2^count equally likely sets of signs, those with fewer than `rank` + 1 positive
    while below <= (1 - level) / 2 * 2**count:
        rank += 1
        below += math.comb(count, rank)
    if rank < 1:
        return None
    ordered = sorted(values)
    return Interval(median(ordered), ordered[rank - 1], ordered[-rank])


def paired_interval(differences: Sequence[float], level: float) -> Interval | None:
    """Mean of paired differences with Student's t interval; None for fewer than two.

    The interval of equal differences has no width.
    """
    if len(differences) < 2:
        return None
    mean = fmean(differences)
    margin = _critical_t(len(differences) - 1, level) * stdev(differences) / math.sqrt(len(differences))
    return Interval(mean, mean - margin, mean + margin)


def rank_interval(before: Sequence[float], after: Sequence[float], level: float) -> Interval | None:
    """Shift from `before` to `after`: the Hodges-Lehmann estimate (the median of all differences), with all
    shifts that the two-sided Mann-Whitney test does not reject at 1 - level.

    The samples are independent. None if there are too few for the test to reject anything. Zero lies outside
    the interval exactly when the test rejects equality (with ties: at most then).
    """
    # scipy has the test but neither this interval nor a public distribution of U.
    rank = _critical_rank(len(before), len(after), (1 - level) / 2)
    if rank < 1:
        return None
    shifts = sorted(b - a for a in before for b in after)
    return Interval(median(shifts), shifts[rank - 1], shifts[-rank])


def ranks_needed(level: float) -> int:
    """Smallest number of samples on either side for which `rank_interval` gives an interval."""
    return next(n for n in range(1, 1000) if _critical_rank(n, n, (1 - level) / 2) >= 1)


def samples_needed(
    spread: float, difference: float, *, power: float = 0.8, level: float = 0.95, most: int = 1000
) -> int | None:
    """Number of pairs with which the paired t test detects a true difference with this probability (power).

    spread: standard deviation of the paired differences, above zero. None if more than `most` are needed.
    """
    if difference <= 0 or t_power(most, difference / spread, level) < power:
        return None
    low, high = 1, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_power(middle, difference / spread, level) >= power else (middle, high)
    return high


def t_power(pairs: int, effect: float, level: float) -> float:
    """Probability that the t interval of `pairs` pairs lies beyond zero, on the side of the true difference.

    effect: true difference divided by the standard deviation of the differences.
    """
    from scipy.special import nctdtr

    missed = float(nctdtr(pairs - 1, effect * math.sqrt(pairs), _critical_t(pairs - 1, level)))
    return 1.0 if math.isnan(missed) else 1 - missed  # scipy 1.17 gives nan for some values below 1e-50


def _critical_t(freedom: int, level: float) -> float:
    """Quantile of Student's t distribution that bounds a two-sided interval."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


@cache
def _critical_rank(n: int, m: int, tail: float) -> int:
    """The largest k with P(U < k) <= tail for the Mann-Whitney statistic U of n and m samples of one
    distribution."""
    n, m = sorted((n, m))  # symmetric, and counted faster this way
    if n * m > _COUNTED:
        return math.floor(NormalDist(n * m / 2, math.sqrt(n * m * (n + m + 1) / 12)).inv_cdf(tail) + 0.5)
    total, below = math.comb(n + m, n), 0
    for k, count in enumerate(_rank_counts(n, m)):
        below += count
        if below > tail * total:
            return k
    return 0


def _rank_counts(n: int, m: int) -> list[int]:
    """Numbers of orders of n and m samples in which U is 0, 1, 2, ...: the coefficients of the product of
    (1 - q^(m+i)) / (1 - q^i) over i = 1 .. n."""
    size = n * m + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for k in range(size - 1, m + i - 1, -1):
            counts[k] -= counts[k - m - i]
        for k in range(i, size):
            counts[k] += counts[k - i]
    return counts

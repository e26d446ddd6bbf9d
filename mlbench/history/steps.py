"""Steps: the places in a series of values at which its mean changes.

The places are those of the exact minimum of the squared distances to the means of the stretches, plus a
penalty for each step (PELT, arXiv:1101.1438, in the implementation of ruptures). A distance counts in units
of the noise of the series, which is read off successive differences (von Neumann, 1941), so that a step
hardly changes it. A step stays only where the interval of the difference of the two means, by Student's t,
excludes zero. benchmarks/change_points.py measures both rules.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from mlbench.errors import StoreError

__all__ = ["ENOUGH", "FEWEST", "Step", "check_ruptures", "exact_steps", "find_steps", "noise"]

#: Values that a series needs for a search.
ENOUGH = 6

#: Values on either side of a step: a single value that differs is no step.
FEWEST = 2

#: The penalty of a step, in units of the logarithm of the number of values. 2 is the Bayesian information
#: criterion for a place and a mean of known noise; the noise here is estimated from few values.
PENALTY = 4.0

#: Level of the intervals that decide. High, as the place was chosen for its difference, and a site has many
#: series.
LEVEL = 0.999


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the mean. at: index of the first value after it. before, after: means of the stretches on
    either side. low, high: interval of after - before at `LEVEL`; without width where there is no noise."""

    at: int
    before: float
    after: float
    low: float
    high: float


def check_ruptures() -> None:
    """Raise StoreError where the library of the search is missing."""
    try:
        import ruptures  # noqa: F401
    except ImportError:
        raise StoreError("publish needs mlbench[publish]: pip install 'mlbench[publish]'") from None


def find_steps(values: Sequence[float]) -> tuple[Step, ...]:
    """The steps of a noisy series, in order; () for fewer than `ENOUGH` values. Raises StoreError where
    ruptures is missing."""
    check_ruptures()
    if len(values) < ENOUGH or (unit := noise(values)) == 0:
        return ()
    import numpy as np
    from ruptures import KernelCPD

    signal = (np.asarray(values, dtype=np.float64) - values[0]) / unit
    search = KernelCPD(kernel="linear", min_size=FEWEST).fit(signal.reshape(-1, 1))
    places = search.predict(pen=PENALTY * math.log(len(values)))[:-1]
    while places:
        steps = _measured(values, places)
        weakest = min(steps, key=_strength)
        if weakest.low > 0 or weakest.high < 0:
            return steps
        places.remove(weakest.at)
    return ()


def exact_steps(values: Sequence[float]) -> tuple[Step, ...]:
    """Every change of a series without noise."""
    return tuple(
        Step(at, before, after, after - before, after - before)
        for at, (before, after) in enumerate(pairwise(values), start=1)
        if before != after
    )


def noise(values: Sequence[float], places: Collection[int] = ()) -> float:
    """Standard deviation of the noise of a series, from its successive differences but those of steps at
    `places`; 0 for a constant series, and for one without such differences."""
    squares = [(b - a) ** 2 for at, (a, b) in enumerate(pairwise(values), start=1) if at not in places]
    return math.sqrt(sum(squares) / (2 * len(squares))) if squares else 0.0


def _measured(values: Sequence[float], places: Sequence[int]) -> tuple[Step, ...]:
    """Steps at these places, with intervals by the spread within all stretches."""
    from scipy.special import stdtrit

    stretches = [values[start:end] for start, end in pairwise((0, *places, len(values)))]
    means = [fmean(each) for each in stretches]
    squares = sum((x - mean) ** 2 for each, mean in zip(stretches, means, strict=True) for x in each)
    freedom = len(values) - len(stretches)
    spread = math.sqrt(squares / freedom)
    critical = float(stdtrit(freedom, (1 + LEVEL) / 2))
    steps = []
    for index, at in enumerate(places):
        before, after = means[index], means[index + 1]
        margin = critical * spread * math.sqrt(1 / len(stretches[index]) + 1 / len(stretches[index + 1]))
        steps.append(Step(at, before, after, after - before - margin, after - before + margin))
    return tuple(steps)


def _strength(step: Step) -> float:
    """The difference in units of half the width of its interval."""
    half = (step.high - step.low) / 2
    return abs(step.after - step.before) / half if half else math.inf

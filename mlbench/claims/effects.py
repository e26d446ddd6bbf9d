"""Effects: means over samples with Student's t interval and the tests against a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Literal

from mlbench.contracts.claims import Effect
from mlbench.regression.statistics import paired_interval, samples_needed

__all__ = ["effect_of", "exact_effect", "transformed"]

#: Differences of this size, relative to the values, are rounding errors.
_ROUNDING = 1e-9


def effect_of(
    values: Sequence[float],
    *,
    bound: float = 0.0,
    at_most: bool = False,
    label: str = "",
    unit: str = "",
    level: float = 0.95,
    kind: Literal["seeds", "rounds"] = "seeds",
) -> Effect:
    """The mean of samples, and the one-sided t tests of it against `bound` (see `Effect`). level: of the
    two-sided interval.

    values: at least one; with one, nothing is known of the spread, so neither test rejects. Where all samples
    are equal the t test has no spread to work with; the sign test replaces it, whose p-value is 2^-n.
    """
    mean, count = fmean(values), len(values)
    effect = Effect(label, mean, unit=unit, bound=bound, at_most=at_most, samples=count, kind=kind)
    interval = paired_interval(values, level)
    if interval is None:
        return effect
    spread, distance = stdev(values), mean - bound
    size = max(abs(mean), abs(bound), *map(abs, values))
    if spread <= _ROUNDING * size:
        is_known = abs(distance) > _ROUNDING * size
        above, below = (0.5**count if is_known and side else 1.0 for side in (distance > 0, distance < 0))
        needed = math.ceil(math.log2(2 / (1 - level))) if is_known else None
        effect = replace(effect, low=mean, high=mean)
    else:
        from scipy.special import stdtr

        statistic = distance / (spread / math.sqrt(count))
        above, below = (float(stdtr(count - 1, sign * statistic)) for sign in (-1, 1))
        needed = samples_needed(spread, abs(distance), level=level)
        effect = replace(effect, low=interval.low, high=interval.high)
    if kind == "seeds":
        effect = replace(effect, spread=spread, needed=needed)
    return _tested(effect, above, below)


def exact_effect(
    value: float, *, bound: float = 0.0, at_most: bool = False, label: str = "", unit: str = ""
) -> Effect:
    """The effect on a quantity without noise, such as a size in bytes: it is above the bound, or it is
    not."""
    effect = Effect(label, value, value, value, unit, bound, at_most, samples=1, kind="exact")
    is_above = value > bound
    return _tested(effect, float(not is_above), float(is_above))


def transformed(effect: Effect, bound: float, form: Callable[[float], float]) -> Effect:
    """An effect on another scale, with its bound there. form: a rising function, such as math.exp for an
    effect on logarithms."""
    low, high = (None if each is None else form(each) for each in (effect.low, effect.high))
    return replace(effect, value=form(effect.value), low=low, high=high, bound=bound)


def _tested(effect: Effect, above: float, below: float) -> Effect:
    """With the p-values of the tests that show the effect to be above its bound, and below it."""
    support, refute = (below, above) if effect.at_most else (above, below)
    return replace(effect, support=support, refute=refute)

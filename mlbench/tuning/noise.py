"""What choosing the best of many trials is worth where all of them are equally good."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["Chance", "Noise", "chance_gain", "noise_of_intervals", "noise_of_repeats"]

#: Searches that are simulated.
_SEARCHES = 20_000


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a trial's objective if it is repeated. freedom: its degrees of freedom; None
    for infinitely many. source: what it was estimated from, for a sentence."""

    deviation: float
    freedom: int | None
    source: str


@dataclass(frozen=True)
class Chance:
    """How much better the best of `count` equally good trials is than their mean. expected: on average. most:
    95 % of searches gain less, with the uncertainty of the noise. share: of searches that gain at least as
    much as was found."""

    count: int
    expected: float
    most: float
    share: float


def noise_of_repeats(scores: Sequence[float], seeds: int) -> Noise | None:
    """From the scores of one run for each seed with the same settings; None for fewer than 2.

    seeds: of a trial, whose objective is their mean.
    """
    if len(scores) < 2:
        return None
    source = f"the standard deviation over {len(scores)} seeds of the default settings"
    return Noise(statistics.stdev(scores) / math.sqrt(seeds), len(scores) - 1, source)


def noise_of_intervals(
    widths: Sequence[float], level: float, test_classes: int, calibration_classes: int, seeds: int
) -> Noise | None:
    """From the widths of the trials' intervals over test classes; None where there is none.

    The calibration split has another number of classes, with whose square root the noise falls. All trials
    have the same classes, so part of this noise is common to them: it is an upper bound.
    """
    if not widths or not test_classes or not calibration_classes:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2)
    deviation = statistics.median(widths) / (2 * half) * math.sqrt(test_classes / calibration_classes)
    source = (
        f"the median {100 * level:g}% interval over test classes, for {calibration_classes} calibration "
        "classes, an upper bound, as all trials have the same classes"
    )
    return Noise(deviation / math.sqrt(seeds), None, source)


def chance_gain(noise: Noise, count: int, found: float, generator: np.random.Generator) -> Chance:
    """Simulate searches of `count` trials that differ by normal noise alone. found: the gain of the real
    search, best minus mean."""
    draws = generator.standard_normal((_SEARCHES, count))
    gains = (draws.max(1) - draws.mean(1)) * noise.deviation
    # The deviation is an estimate itself: of few repeats it may be far too small.
    unsure = gains
    if noise.freedom is not None:
        unsure = gains * np.sqrt(noise.freedom / generator.chisquare(noise.freedom, _SEARCHES))
    return Chance(
        count=count,
        expected=float(gains.mean()),
        most=float(np.quantile(unsure, 0.95)),
        share=float((unsure >= found).mean()),
    )

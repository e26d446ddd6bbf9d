"""Moves: steps of a series with what they mean: to the worse or better, by how much, between which runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mlbench.history.runs import Run
from mlbench.history.steps import Step
from mlbench.regression.change import Verdict
from mlbench.regression.statistics import paired_interval

__all__ = ["LEVEL", "Move", "Point", "exact_move", "judged_means", "judged_shares"]

#: Level of the intervals of points, and of those over seeds.
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Point:
    """The quantity in one run. value: mean over the seeds; of a speed the median of the rounds, as it would
    be at the usual pace of the machine (see `Series.paced`). measured: the value without that correction.
    low, high: its interval, None where there is none. basis: of the interval, "3 seeds", "classes" (the
    mean of the seeds' intervals) or "7 rounds". seeds: values by seed, for metrics."""

    run: Run
    value: float
    measured: float
    low: float | None = None
    high: float | None = None
    basis: str = ""
    seeds: Mapping[int, float] | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A step of a series, judged. step: its means in the unit of the series. low, high: interval of after -
    before. relative: the difference as a share of before; None where before is 0. verdict: None where
    neither direction is better; INCONCLUSIVE where the seeds do not agree on it; SAME within the tolerance.
    note: remarks, "" where there are none."""

    step: Step
    before: Run
    after: Run
    low: float
    high: float
    relative: float | None
    verdict: Verdict | None
    note: str = ""


def judged_means(
    step: Step,
    points: Sequence[Point],
    sides: tuple[Sequence[Point], Sequence[Point]],
    higher: bool | None,
    tolerance: float,
) -> Move:
    """A step of a metric. It must also hold over the seeds that both sides have: runs that repeat the same
    bits have no noise, and seeds do."""
    means = [_seed_means(side) for side in sides]
    common = means[0].keys() & means[1].keys()
    interval = paired_interval([means[1][seed] - means[0][seed] for seed in sorted(common)], LEVEL)
    difference = step.after - step.before
    low, high, note = step.low, step.high, ""
    verdict = None if higher is None else _direction(difference, higher)
    if verdict is not None and abs(difference) <= tolerance:
        verdict = Verdict.SAME
    if interval is None:
        note = "1 seed" if len(common) == 1 else "no seed on both sides"
    else:
        low, high = min(low, interval.low), max(high, interval.high)
        if interval.low <= 0 <= interval.high:
            verdict = None if verdict is None else Verdict.INCONCLUSIVE
            note = f"within the spread over {len(common)} seeds"
    before, after = points[step.at - 1].run, points[step.at].run
    return Move(
        step, before, after, low, high, difference / step.before if step.before else None, verdict, note
    )


def judged_shares(step: Step, points: Sequence[Point], higher: bool, tolerance: float) -> Move:
    """A step of logarithms, in the unit of the points."""
    before, after = math.exp(step.before), math.exp(step.after)
    relative = after / before - 1
    low, high = (before * math.expm1(each) for each in (step.low, step.high))
    verdict = _direction(relative, higher)
    # As in a comparison: a rate may fall to 1 - tolerance, a cost grow to 1 + tolerance.
    if (abs(relative) if higher == (relative < 0) else abs(before / after - 1)) <= tolerance:
        verdict = Verdict.SAME
    plain = Step(step.at, before, after, low, high)
    return Move(plain, points[step.at - 1].run, points[step.at].run, low, high, relative, verdict)


def exact_move(step: Step, points: Sequence[Point], higher: bool, tolerance: float) -> Move:
    """A step of a quantity without noise."""
    relative = step.after / step.before - 1 if step.before else None
    verdict = _direction(step.after - step.before, higher)
    if relative is not None and abs(relative) <= tolerance:
        verdict = Verdict.SAME
    before, after = points[step.at - 1].run, points[step.at].run
    return Move(step, before, after, step.low, step.high, relative, verdict)


def _direction(difference: float, higher: bool) -> Verdict:
    return Verdict.BETTER if (difference > 0) == higher else Verdict.WORSE


def _seed_means(side: Sequence[Point]) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for point in side:
        for seed, value in (point.seeds or {}).items():
            values.setdefault(seed, []).append(value)
    return {seed: fmean(each) for seed, each in values.items()}

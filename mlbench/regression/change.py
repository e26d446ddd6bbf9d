"""Changes: one quantity of one case before and after, with the verdict on their difference.

`mlbench.regression.comparison` states the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev
from typing import Any

from mlbench.records.record import Estimate, Record, Timing
from mlbench.regression.statistics import (
    Interval,
    paired_interval,
    rank_interval,
    ranks_needed,
    samples_needed,
)

__all__ = [
    "CONDITIONS",
    "OTHER_HARDWARE",
    "Change",
    "Verdict",
    "exact_change",
    "hardware",
    "metric_change",
    "speed_change",
]

#: Factor of the tolerances of speeds on other hardware, where the comparison relies on the reference workload
#: alone, which does not resemble every model.
OTHER_HARDWARE = 3

#: Conditions that two measurements of speed must share, with their names in messages. On other hardware the
#: number of threads may differ, since the reference workload used the same number.
CONDITIONS = {
    "batch_size": "batch sizes",
    "training_batch_size": "batch sizes of training",
    "threads": "numbers of threads",
    "reference_version": "versions of the reference workload",
}

#: The largest number of samples that a note advises.
_MOST = 1000

#: Largest rounding error of a difference equal to the tolerance.
_ROUNDING = 1e-9


class Verdict(StrEnum):
    """Verdict on a change."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity of one case before and after.

    group: metrics, speed, memory or size. before, after: means over the seeds of both sides; medians as
    measured for a speed. difference, low, high: in the metric's unit; for other groups shares of before (0.1
    is 10 % more), for speeds relative to the reference workload if it was timed. tolerance: in the same unit.
    samples: number of seeds, or of rounds on the side with fewer. verdict: None if neither direction is
    better. gated: whether it can fail a check. note: remarks on the comparison, and what would decide it.
    """

    case: str
    group: str
    name: str
    before: float
    after: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float = 0.0
    samples: int = 0
    gated: bool = False
    verdict: Verdict | None = None
    note: str = ""

    @property
    def relative(self) -> bool:
        """Whether difference and tolerance are shares of before."""
        return self.group != "metrics"


def metric_change(
    before: Sequence[Record], after: Sequence[Record], facts: dict[str, Any], level: float
) -> Change:
    """The change of a metric, paired by seed. facts: the known fields of the `Change`: case, group, name,
    before, after, tolerance, gated."""
    name = facts["name"]
    old, new = (
        {record.seed: record.metrics[name] for record in side if _known(record.metrics.get(name))}
        for side in (before, after)
    )
    seeds = sorted(old.keys() & new.keys())
    direction = next(iter(new.values())).higher_is_better
    other = _other_data(before, after) or _other_protocol(before, after)
    if other := other or ("" if seeds else "no seed on both sides"):
        verdict = None if direction is None else Verdict.INCOMPARABLE
        return Change(**facts, verdict=verdict, note=other)
    differences = [_number(new[seed]) - _number(old[seed]) for seed in seeds]
    facts |= {
        "before": fmean(_number(old[seed]) for seed in seeds),
        "after": fmean(_number(new[seed]) for seed in seeds),
        "samples": len(seeds),
    }
    interval = paired_interval(differences, level)
    if interval is None:
        note = f"the spread over seeds is unknown with 1 seed; run 3 or more{_classes(old, new)}"
        verdict = None if direction is None else Verdict.INCONCLUSIVE
        return Change(**facts, difference=differences[0], verdict=verdict, note=note)
    spread = stdev(differences)
    same_step = spread < 1e-9 < abs(interval.value)
    verdict = None if direction is None else _judge(interval, facts["tolerance"], direction)
    if same_step and len(seeds) == 2 and verdict is not None:
        # A metric over few queries has few different values, so two equal differences may be chance.
        verdict = Verdict.INCONCLUSIVE
    note = ""
    if verdict is Verdict.INCONCLUSIVE:
        note = _more_seeds(len(seeds), 0.0 if same_step else spread, facts["tolerance"], level)
    return Change(
        **facts,
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        verdict=verdict,
        note=note,
    )


def speed_change(
    before: Sequence[Record], after: Sequence[Record], facts: dict[str, Any], level: float
) -> Change:
    """The change of a speed over its rounds. facts: see `metric_change`."""
    name = facts["name"]
    before, after = ([each for each in side if _known(each.speed.get(name))] for side in (before, after))
    sides = [_rounds(side, name) for side in (before, after)]
    higher = sides[0].higher_is_better
    facts |= {"samples": min(len(side.costs) for side in sides)}
    elsewhere = _hardware(before) != _hardware(after)
    normalised = all(side.normalised for side in sides)
    other = _other_conditions(before, after, name, elsewhere)
    if elsewhere and not normalised:
        other = other or "other hardware, and the reference workload was not timed"
    if other:
        return Change(**facts, verdict=Verdict.INCOMPARABLE, note=other)
    notes = []
    if elsewhere:
        facts["tolerance"] *= OTHER_HARDWARE
        notes.append(f"other hardware: compared by the reference workload, with {OTHER_HARDWARE} x tolerance")
    old, new = (side.normalised if normalised else side.costs for side in sides)
    interval = rank_interval([*map(math.log, old)], [*map(math.log, new)], level)
    if interval is None:
        notes.append(f"{facts['samples']} rounds; at least {ranks_needed(level)} are needed")
        return Change(**facts, verdict=Verdict.INCONCLUSIVE, note="; ".join(notes))
    allowed = _allowed(facts["tolerance"], higher_is_better=higher)
    verdict = _judge(interval, allowed, False)
    if verdict is Verdict.INCONCLUSIVE:
        notes.append(_more_rounds(facts["samples"], interval, allowed))
    shares = [math.expm1(-value if higher else value) for value in (interval.low, interval.high)]
    return Change(
        **facts,
        difference=math.expm1(-interval.value if higher else interval.value),
        low=min(shares),
        high=max(shares),
        verdict=verdict,
        note="; ".join(notes),
    )


def exact_change(facts: dict[str, Any]) -> Change:
    """The change of a quantity without samples, of which less is better. facts: see `metric_change`."""
    before, after, tolerance = facts["before"], facts["after"], facts["tolerance"]
    if before == after:
        return Change(**facts, difference=0.0, verdict=Verdict.SAME)
    if before <= 0 or after <= 0:
        verdict = Verdict.WORSE if after > before else Verdict.BETTER
        return Change(**facts, difference=None, verdict=verdict)
    verdict = Verdict.SAME
    if abs(math.log(after / before)) > _allowed(tolerance, higher_is_better=False) + _ROUNDING:
        verdict = Verdict.WORSE if after > before else Verdict.BETTER
    return Change(**facts, difference=after / before - 1, verdict=verdict)


def hardware(record: Record) -> dict[str, str]:
    """The hardware of a speed: CPU, cores, and the device if it is not the CPU."""
    found = {name: str(record.environment.get(name, "?")) for name in ("cpu", "cores")}
    if (kind := _device_kind(record)) != "cpu":
        found["device"] = f"{kind} {record.environment.get('device_product', '?')}"
    return found


def _device_kind(record: Record) -> str:
    return str(record.environment.get("device", "cpu")).partition(":")[0]


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Times of the rounds on one side, and the same divided by the reference workload (() if not timed)."""

    costs: tuple[float, ...]
    normalised: tuple[float, ...]
    higher_is_better: bool


def _rounds(records: Sequence[Record], name: str) -> _Rounds:
    """The rounds of all different measurements: records of one architecture in a run share a measurement."""
    higher = records[0].speed[name].higher_is_better
    measured = {(record.speed[name].rounds, record.speed[name].reference) for record in records}
    costs: list[float] = []
    normalised: list[float] = []
    for rounds, reference in sorted(measured):
        times = [1 / each if higher else each for each in rounds]
        costs += times
        if len(reference) == len(times):
            normalised += [time / beside for time, beside in zip(times, reference, strict=True)]
    return _Rounds(tuple(costs), tuple(normalised) if len(normalised) == len(costs) else (), higher)


def _judge(interval: Interval, tolerance: float, higher_is_better: bool) -> Verdict:
    """The rule in the docstring of `mlbench.regression.comparison`."""
    value, low, high = interval.value, interval.low, interval.high
    tolerance += _ROUNDING
    if -tolerance <= low and high <= tolerance:
        return Verdict.SAME
    up, down = Verdict.BETTER, Verdict.WORSE
    if not higher_is_better:
        up, down = down, up
    if low > 0 and value > tolerance:
        return up
    if high < 0 and value < -tolerance:
        return down
    return Verdict.INCONCLUSIVE


def _allowed(tolerance: float, *, higher_is_better: bool) -> float:
    """The tolerance as a logarithm: a rate may fall to 1 - tolerance, a cost grow to 1 + tolerance."""
    if not higher_is_better:
        return math.log1p(tolerance)
    return -math.log1p(-tolerance) if tolerance < 1 else math.inf


def _more_seeds(seeds: int, spread: float, tolerance: float, level: float) -> str:
    if not tolerance:
        return f"{seeds} seeds; with a tolerance of 0, a change that varies over seeds is never the same"
    needed = samples_needed(spread, tolerance, level=level) if spread else 3
    if needed is None:
        return f"{seeds} seeds; more than {_MOST:,} would be needed to see a change of {tolerance:g}"
    if needed > seeds:
        return f"{seeds} seeds; {needed} would show a change of {tolerance:g} (at 80 % power)"
    return f"{seeds} seeds; the change lies near the tolerance: more seeds would show on which side"


def _more_rounds(rounds: int, interval: Interval, allowed: float) -> str:
    """The interval shrinks with the square root of the rounds, until it lies on one side of the border."""
    distance = abs(interval.value) if abs(interval.value) > allowed else allowed - abs(interval.value)
    needed = math.inf
    if distance > 0:
        needed = rounds * ((interval.high - interval.low) / 2 / distance) ** 2
    if needed > _MOST:
        return f"{rounds} rounds; more than {_MOST:,} would be needed to decide"
    return f"{rounds} rounds; about {math.ceil(max(needed, rounds + 1))} would decide"


def _classes(old: Mapping[int, Estimate], new: Mapping[int, Estimate]) -> str:
    """Intervals over classes as text; they show the noise of other classes, but not of other seeds."""
    texts = []
    for side, estimates in (("before", old), ("after", new)):
        lows = [each.low for each in estimates.values() if each.low is not None]
        highs = [each.high for each in estimates.values() if each.high is not None]
        if not lows or not highs:
            return ""
        texts.append(f"{side} [{fmean(lows):.3f}, {fmean(highs):.3f}]")
    return f" (interval over classes: {', '.join(texts)})"


def _number(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def _known(each: Estimate | Timing | None) -> bool:
    return each is not None and each.value is not None


def _other_data(before: Sequence[Record], after: Sequence[Record]) -> str:
    old, new = ({str(record.data.get("version", "")) for record in side} for side in (before, after))
    return (
        "" if old == new else f"other data ({', '.join(sorted(old))} before, {', '.join(sorted(new))} after)"
    )


def _other_protocol(before: Sequence[Record], after: Sequence[Record]) -> str:
    old, new = ({_gallery(record) for record in side} for side in (before, after))
    if old == new:
        return ""
    return f"other protocol (gallery {', '.join(sorted(old))} before, {', '.join(sorted(new))} after)"


def _gallery(record: Record) -> str:
    """The gallery of a record's protocol, in a word or two."""
    protocol = record.evaluation.get("protocol", {})
    # Records older than the choices used the protocol that is now the default.
    return "of training images" if protocol.get("split") == "train" else str(protocol.get("gallery", "test"))


def _other_conditions(before: Sequence[Record], after: Sequence[Record], speed: str, elsewhere: bool) -> str:
    matters = {
        "batch_size": speed in ("images_per_second", "onnx_images_per_second"),
        "training_batch_size": speed == "training_images_per_second",
        "threads": not elsewhere,
    }
    kinds = [" and ".join(sorted({_device_kind(each) for each in side})) for side in (before, after)]
    if kinds[0] != kinds[1]:
        return f"measured on other kinds of device ({kinds[0]} before, {kinds[1]} after)"
    for name, what in CONDITIONS.items():
        if not matters.get(name, True):
            continue
        old, new = (sorted({str(record.measured.get(name)) for record in side}) for side in (before, after))
        if old != new:
            return f"measured with other {what} ({' and '.join(old)} before, {' and '.join(new)} after)"
    return ""


def _hardware(records: Sequence[Record]) -> set[tuple[str, ...]]:
    return {tuple(hardware(record).values()) for record in records}

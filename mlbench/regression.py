"""Regression: what changed between two sets of records of a suite, and whether it is more than noise.

One rule for everything that is measured with noise. A change has an interval, and the suite a tolerance:

    same          the whole interval lies within the tolerance
    worse         the whole interval lies on the worse side of zero, and the loss exceeds the tolerance
    better        the same on the better side
    inconclusive  anything else: too few samples

Metrics are compared by seed: Student's t interval of the paired differences, in the metric's own unit. Speeds
are compared by the Mann-Whitney test of the rounds, each divided by the round of the reference workload that
was timed beside it, so that a machine that is slow today is no regression; their tolerances, and those of
memory and size, are shares: 0.1 allows a tenth more time (or 1/1.1 of the throughput), bytes or parameters.
Sizes and peaks of memory have no noise to speak of and are compared as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, median, stdev
from typing import Any

from mlbench.record import Estimate, Record, Timing
from mlbench.statistics import Interval, paired_interval, rank_interval, ranks_needed, samples_needed

__all__ = [
    "GATED",
    "OTHER_HARDWARE",
    "TOLERANCES",
    "Change",
    "Comparison",
    "Missing",
    "Verdict",
    "compare",
    "hardware",
]

#: Tolerances where a suite states none; for metrics, 0.
TOLERANCES = {"speed": 0.1, "memory": 0.1, "size": 0.0}

#: What a gate watches besides everything that the suite states a tolerance for.
GATED = ("images_per_second", "parameters")

#: On other hardware speeds are compared by the reference workload alone, which does not resemble every model:
#: tolerances are so many times as large.
OTHER_HARDWARE = 3

#: More than so many samples are no advice.
_MOST = 1000


class Verdict(StrEnum):
    """What a change means."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity of one case, before and after.

    group: metrics, speed, memory or size. before, after: means over the seeds that both sides have; of a
    speed its median as it was measured. difference, low, high: in the metric's unit; of the others shares of
    before (0.1 is 10 % more), of speeds by the reference workload where there is one. samples: seeds, or the
    rounds of the side that has fewer. verdict: None where neither direction is better. gated: whether it can
    fail a check. note: what there is to know about the comparison, and what would resolve it.
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


@dataclass(frozen=True, slots=True)
class Missing:
    """What only one side has. name: "" for a whole case. side: the one that lacks it, "before" or "after"."""

    case: str
    name: str
    side: str
    reason: str
    gated: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was compared. notes: one line each."""

    changes: tuple[Change, ...]
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    regressions: tuple[Change | Missing, ...] = field(init=False)

    def __post_init__(self) -> None:
        worse = (each for each in self.changes if each.gated and each.verdict is Verdict.WORSE)
        lost = (each for each in self.missing if each.gated and each.side == "after")
        object.__setattr__(self, "regressions", (*worse, *lost))


def compare(
    before: Sequence[Record],
    after: Sequence[Record],
    tolerances: Mapping[str, float],
    *,
    level: float = 0.95,
) -> Comparison:
    """Compare two sets of records, each with one record of a case and seed. level: of the intervals."""
    changes: list[Change] = []
    missing: list[Missing] = []
    sides = [_by_case(before), _by_case(after)]
    for case in dict.fromkeys((*sides[0], *sides[1])):
        old, new = (side.get(case, []) for side in sides)
        for side, records in (("before", old), ("after", new)):
            if not _done(records):
                reason = records[0].error if records else "no record"
                missing.append(Missing(case, "", side, reason, gated=True))
        if _done(old) and _done(new):
            found, lost = _Pair(case, _done(old), _done(new), tolerances, level).compare()
            changes += found
            missing += lost
    return Comparison(tuple(changes), tuple(missing), tuple(_machine_notes(before, after)))


def hardware(record: Record) -> dict[str, str]:
    """What a speed belongs to: processor, cores, and the device where that is another one."""
    found = {name: str(record.environment.get(name, "?")) for name in ("cpu", "cores")}
    product = str(record.environment.get("device_product", "?"))
    return found if product == found["cpu"] else {**found, "device": product}


@dataclass(frozen=True, slots=True)
class _Pair:
    """The finished records of one case on both sides."""

    case: str
    before: Sequence[Record]
    after: Sequence[Record]
    tolerances: Mapping[str, float]
    level: float

    def compare(self) -> tuple[list[Change], list[Missing]]:
        changes, missing = [], []
        for group in ("metrics", "speed", "memory", "size"):
            old, new = (self._values(side, group) for side in (self.before, self.after))
            for name in dict.fromkeys((*old, *new)):
                if name == "reference" and group == "speed":
                    continue  # it tells about the machine; see _machine_notes
                if name in old and name in new:
                    changes.append(self._change(group, name, old[name], new[name]))
                else:
                    side = "after" if name in old else "before"
                    lacking = self.after if name in old else self.before
                    missing.append(
                        Missing(self.case, name, side, _why(lacking, group, name), self._gated(name))
                    )
        return changes, missing

    @staticmethod
    def _values(records: Sequence[Record], group: str) -> dict[str, float]:
        """What there is of a group: the mean over records."""
        found: dict[str, list[float]] = {}
        for record in records:
            for name, each in getattr(record, group).items():
                value = each.value if isinstance(each, Estimate | Timing) else each
                if value is not None:
                    found.setdefault(name, []).append(value)
        return {name: fmean(values) for name, values in found.items()}

    def _gated(self, name: str) -> bool:
        return name in self.tolerances or name in GATED

    def _change(self, group: str, name: str, before: float, after: float) -> Change:
        tolerance = self.tolerances.get(name, TOLERANCES.get(group, 0.0))
        facts: dict[str, Any] = {
            "case": self.case, "group": group, "name": name, "before": before, "after": after,
            "tolerance": tolerance, "gated": self._gated(name),
        }  # fmt: skip
        if group == "metrics":
            return self._metric(name, facts)
        if group == "speed":
            return self._speed(name, facts)
        return _exact(facts)

    def _metric(self, name: str, facts: dict[str, Any]) -> Change:
        old, new = (
            {record.seed: record.metrics[name] for record in side if _known(record.metrics.get(name))}
            for side in (self.before, self.after)
        )
        seeds = sorted(old.keys() & new.keys())
        direction = next(iter(new.values())).higher_is_better
        if versions := _other_data(self.before, self.after):
            return Change(**facts, verdict=_undecided(direction), note=versions)
        if not seeds:
            return Change(**facts, verdict=_undecided(direction), note="no seed on both sides")
        differences = [_number(new[seed]) - _number(old[seed]) for seed in seeds]
        facts |= {
            "before": fmean(_number(old[seed]) for seed in seeds),
            "after": fmean(_number(new[seed]) for seed in seeds),
            "samples": len(seeds),
        }
        interval = paired_interval(differences, self.level)
        if interval is None:
            note = f"1 seed says nothing of the spread; run 3 or more{_classes(old, new)}"
            return Change(**facts, difference=differences[0], verdict=_undecided(direction), note=note)
        spread = stdev(differences)
        same_step = spread < 1e-9 < abs(interval.value)
        verdict = None if direction is None else _judge(interval, facts["tolerance"], direction)
        if same_step and len(seeds) == 2 and verdict is not None:
            verdict = Verdict.INCONCLUSIVE  # a metric of few queries moves in steps: twice the same is chance
        note = ""
        if verdict is Verdict.INCONCLUSIVE:
            note = _more_seeds(len(seeds), 0.0 if same_step else spread, facts["tolerance"], self.level)
        return Change(
            **facts,
            difference=interval.value,
            low=interval.low,
            high=interval.high,
            verdict=verdict,
            note=note,
        )

    def _speed(self, name: str, facts: dict[str, Any]) -> Change:
        sides = [_rounds(side, name) for side in (self.before, self.after)]
        higher = sides[0].higher_is_better
        facts |= {"samples": min(len(side.costs) for side in sides)}
        if other := _other_conditions(self.before, self.after):
            return Change(**facts, verdict=Verdict.INCONCLUSIVE, note=other)
        normalised = all(side.normalised for side in sides)
        notes = []
        if _one_hardware(self.before) != _one_hardware(self.after):
            if not normalised:
                note = "other hardware, and no reference workload was timed beside it"
                return Change(**facts, verdict=Verdict.INCONCLUSIVE, note=note)
            facts["tolerance"] *= OTHER_HARDWARE
            notes.append(
                f"other hardware: by the reference workload alone, with {OTHER_HARDWARE} x tolerance"
            )
        old, new = (side.normalised if normalised else side.costs for side in sides)
        interval = rank_interval([*map(math.log, old)], [*map(math.log, new)], self.level)
        if interval is None:
            notes.append(f"{facts['samples']} rounds; at least {ranks_needed(self.level)} are needed")
            return Change(**facts, verdict=Verdict.INCONCLUSIVE, note="; ".join(notes))
        allowed = math.log1p(facts["tolerance"])
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


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Time of each round on one side, and the same by the reference workload (() where it was not timed)."""

    costs: tuple[float, ...]
    normalised: tuple[float, ...]
    higher_is_better: bool


def _rounds(records: Sequence[Record], name: str) -> _Rounds:
    """Every measurement counts once: the records of a run share those of their architecture."""
    higher = next(record.speed[name] for record in records if _known(record.speed.get(name))).higher_is_better
    measured = {
        (record.speed[name].rounds, record.speed.get("reference", Timing(None)).rounds)
        for record in records
        if _known(record.speed.get(name))
    }
    costs: list[float] = []
    normalised: list[float] = []
    for rounds, reference in sorted(measured):
        times = [1 / each if higher else each for each in rounds]
        costs += times
        if len(reference) == len(times):
            normalised += [time / beside for time, beside in zip(times, reference, strict=True)]
    return _Rounds(tuple(costs), tuple(normalised) if len(normalised) == len(costs) else (), higher)


def _judge(interval: Interval, tolerance: float, higher_is_better: bool) -> Verdict:
    """The rule that the module's docstring states."""
    value, low, high = interval.value, interval.low, interval.high
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


def _exact(facts: dict[str, Any]) -> Change:
    """A change of what has no noise and is better when small."""
    before, after, tolerance = facts["before"], facts["after"], facts["tolerance"]
    if before == after:
        return Change(**facts, difference=0.0, verdict=Verdict.SAME)
    if before <= 0 or after <= 0:
        verdict = Verdict.WORSE if after > before else Verdict.BETTER
        return Change(**facts, difference=None, verdict=verdict)
    verdict = Verdict.SAME
    if abs(math.log(after / before)) > math.log1p(tolerance):
        verdict = Verdict.WORSE if after > before else Verdict.BETTER
    return Change(**facts, difference=after / before - 1, verdict=verdict)


def _undecided(direction: bool | None) -> Verdict | None:
    return None if direction is None else Verdict.INCONCLUSIVE


def _more_seeds(seeds: int, spread: float, tolerance: float, level: float) -> str:
    if not tolerance:
        return f"{seeds} seeds; the suite states no tolerance within which it would be the same"
    needed = samples_needed(spread, tolerance, level=level) if spread else 3
    if needed is None:
        return f"{seeds} seeds; more than {_MOST:,} would be needed to see a change of {tolerance:g}"
    if needed > seeds:
        return f"{seeds} seeds; {needed} would show a change of {tolerance:g} (at 80 % power)"
    return f"{seeds} seeds; the change lies near the tolerance: more seeds tell on which side"


def _more_rounds(rounds: int, interval: Interval, allowed: float) -> str:
    """The interval shrinks with the root of the rounds; it must fit between the estimate and the border."""
    distance = abs(interval.value) if abs(interval.value) > allowed else allowed - abs(interval.value)
    needed = math.inf
    if distance > 0:
        needed = rounds * ((interval.high - interval.low) / 2 / distance) ** 2
    if needed > _MOST:
        return f"{rounds} rounds; more than {_MOST:,} would be needed to tell"
    return f"{rounds} rounds; about {math.ceil(max(needed, rounds + 1))} would tell"


def _classes(old: Mapping[int, Estimate], new: Mapping[int, Estimate]) -> str:
    """Intervals over classes, which tell what other classes would do and nothing of other seeds."""
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


def _why(records: Sequence[Record], group: str, name: str) -> str:
    notes = {getattr(getattr(record, group).get(name), "note", "") for record in records}
    return "; ".join(sorted(notes - {""})) or "not measured"


def _by_case(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.case, []).append(record)
    return found


def _done(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.status == "done"]


def _other_data(before: Sequence[Record], after: Sequence[Record]) -> str:
    old, new = ({str(record.data.get("version", "")) for record in side} for side in (before, after))
    return (
        "" if old == new else f"other data ({', '.join(sorted(old))} before, {', '.join(sorted(new))} after)"
    )


def _other_conditions(before: Sequence[Record], after: Sequence[Record]) -> str:
    for name, what in (("batch_size", "batch size"), ("threads", "threads")):
        old, new = (
            {record.measured.get(name) for record in side if record.speed} for side in (before, after)
        )
        if old != new:
            text = ", ".join(f"{sorted(map(str, each))[0]}" for each in (old, new))
            return f"measured with other {what} (before, after: {text})"
    return ""


def _one_hardware(records: Sequence[Record]) -> set[tuple[str, ...]]:
    return {tuple(hardware(record).values()) for record in records}


def _machine_notes(before: Sequence[Record], after: Sequence[Record]) -> Iterator[str]:
    """How fast the machine was, by the reference workload."""
    times = []
    for side in (before, after):
        found = {record.speed["reference"].rounds for record in side if "reference" in record.speed}
        times.append([time for rounds in found for time in rounds])
    if all(times):
        ratio = median(times[1]) / median(times[0])
        if not 1 / 1.05 < ratio < 1.05:
            yield f"the reference workload took {ratio:.2f} x the time: speeds are compared relative to it"

"""Comparison of two sets of records of a suite.

One rule for every quantity with noise. A change has an interval, and its quantity a tolerance:

    same          the whole interval lies within the tolerance
    worse         the whole interval lies on the worse side of zero, and the loss exceeds the tolerance
    better        the same on the better side
    inconclusive  anything else: too few samples

Results of different data, protocols (`evaluation.split`, `evaluation.gallery`), batch sizes or kinds of
device are not comparable.

Metrics are paired by seed: Student's t interval of the differences, in the metric's own unit. Speeds are
compared by the Mann-Whitney test over rounds. Each round is divided by the seconds of the reference workload
before and after it, so that a machine that is slow today is not a regression. Tolerances of speed, memory and
size are shares: 0.1 allows a tenth less throughput, or a tenth more time, bytes or parameters. Sizes have no
noise and memory peaks no rounds: their values are compared directly, without an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from mlbench.errors import first_few, hint
from mlbench.planning.selection import Lacking
from mlbench.records.conditions import condition_changes
from mlbench.records.record import Estimate, Record, Timing, default_tolerances
from mlbench.regression.change import Change, Verdict, exact_change, hardware, metric_change, speed_change

__all__ = [
    "GATED",
    "TOLERANCES",
    "Comparison",
    "Missing",
    "compare",
]

#: Tolerances where neither the suite states one nor the metric announces one; for metrics, 0.
TOLERANCES = {"speed": 0.1, "memory": 0.1, "size": 0.0}

#: What a gate watches besides every quantity with a tolerance.
GATED = ("images_per_second", "parameters")


@dataclass(frozen=True, slots=True)
class Missing:
    """A quantity that one side lacks, in some or all seeds. name: "" for a whole case. side: the one that
    lacks it, "before" or "after"."""

    case: str
    name: str
    side: str
    reason: str
    gated: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Changes and missing quantities of two sets of records. notes: one line each."""

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
    lacking: tuple[Sequence[Lacking], Sequence[Lacking]] = ((), ()),
    level: float = 0.95,
) -> Comparison:
    """Compare two sets of records, each with one record of a case and seed. tolerances: of the suite; a
    metric without one has the default that it announced. lacking: cases and seeds without a record on either
    side. level: of the intervals."""
    tolerances = {**default_tolerances([*before, *after]), **tolerances}
    changes: list[Change] = []
    missing: list[Missing] = []
    sides = [_by_case(before), _by_case(after)]
    expected = [each.case for side in lacking for each in side]
    for case in dict.fromkeys((*sides[0], *sides[1], *expected)):
        old, new = (side.get(case, []) for side in sides)
        for side, records, others, absent in (
            ("before", old, new, lacking[0]),
            ("after", new, old, lacking[1]),
        ):
            absent = [each for each in absent if each.case == case]
            if reason := _lacking(records, absent):
                missing.append(Missing(case, "", side, reason, gated=bool(_done(others) or absent)))
        if _done(old) and _done(new):
            found, lost = _Pair(case, _done(old), _done(new), tolerances, level).compare()
            changes += found
            missing += lost
    notes = (
        *_seed_notes(*sides),
        *_idle_tolerances(tolerances, changes, missing),
        *_condition_notes(*sides),
        *_machine_notes(before, after),
        *_disturbance_notes(before, after),
    )
    return Comparison(tuple(changes), tuple(missing), notes)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The finished records of one case on both sides."""

    case: str
    before: Sequence[Record]
    after: Sequence[Record]
    tolerances: Mapping[str, float]
    level: float

    def compare(self) -> tuple[list[Change], list[Missing]]:
        changes: list[Change] = []
        missing: list[Missing] = []
        for group in ("metrics", "speed", "memory", "size"):
            old, new = (self._values(side, group) for side in (self.before, self.after))
            for name in dict.fromkeys((*old, *new)):
                if name in old and name in new:
                    changes.append(self._change(group, name, old[name], new[name]))
                    missing += self._lost_in_seeds(name) if group == "metrics" else ()
                else:
                    side = "after" if name in old else "before"
                    lacking = self.after if name in old else self.before
                    missing.append(
                        Missing(self.case, name, side, _why(lacking, group, name), self._gated(name))
                    )
        return changes, missing

    @staticmethod
    def _values(records: Sequence[Record], group: str) -> dict[str, float]:
        """Means of a group's quantities over the records that have them."""
        found: dict[str, list[float]] = {}
        for record in records:
            for name, each in getattr(record, group).items():
                value = each.value if isinstance(each, Estimate | Timing) else each
                if value is not None:
                    found.setdefault(name, []).append(value)
        return {name: fmean(values) for name, values in found.items()}

    def _lost_in_seeds(self, name: str) -> Iterator[Missing]:
        """The metric, for each side that lacks it in some seeds in which the other side has it: the mean over
        the other seeds would hide that."""
        before, after = ({record.seed: record for record in side} for side in (self.before, self.after))
        for side, here, there in (("before", before, after), ("after", after, before)):
            common = sorted(here.keys() & there.keys())
            lost = [here[seed] for seed in common if not _has(here[seed], name) and _has(there[seed], name)]
            if lost:
                reason = f"{len(lost)} of {len(common)} seeds: {_why(lost, 'metrics', name)}"
                yield Missing(self.case, name, side, reason, self._gated(name))

    def _gated(self, name: str) -> bool:
        return name in self.tolerances or name in GATED

    def _change(self, group: str, name: str, before: float, after: float) -> Change:
        tolerance = self.tolerances.get(name, TOLERANCES.get(group, 0.0))
        facts: dict[str, Any] = {
            "case": self.case, "group": group, "name": name, "before": before, "after": after,
            "tolerance": tolerance, "gated": self._gated(name),
        }  # fmt: skip
        if group == "metrics":
            return metric_change(self.before, self.after, facts, self.level)
        if group == "speed":
            return speed_change(self.before, self.after, facts, self.level)
        return exact_change(facts)


def _has(record: Record, metric: str) -> bool:
    return metric in record.metrics and record.metrics[metric].value is not None


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


def _lacking(records: Sequence[Record], absent: Sequence[Lacking]) -> str:
    """Why a case lacks finished records of some or all of its seeds; "" if it has all."""
    failed = [record for record in records if record.status != "done"]
    if not records:
        return absent[0].reason if absent else "no record"
    if len(failed) == len(records):
        return failed[0].error
    total = len(records) + len(absent)
    texts = [f"{len(failed)} of {total} seeds failed: {failed[0].error}"] if failed else []
    texts += [f"{len(absent)} of {total} seeds: {absent[0].reason}"] if absent else []
    return "; ".join(texts)


def _seed_notes(before: Mapping[str, list[Record]], after: Mapping[str, list[Record]]) -> Iterator[str]:
    """Notes on cases whose sides have different seeds; only common seeds are compared."""
    for case in before.keys() & after.keys():
        old, new = ({record.seed for record in _done(side[case])} for side in (before, after))
        if old and new and old != new:
            counts = f"{len(old)} seeds before, {len(new)} after"
            yield f"{case}: {counts}; metrics are compared over the {len(old & new)} that both have"


def _condition_notes(before: Mapping[str, list[Record]], after: Mapping[str, list[Record]]) -> Iterator[str]:
    """Notes on conditions that differ between the sides."""
    cases: dict[str, list[str]] = {}
    for case in before:
        pairs = [(old, new) for old in before[case] for new in after.get(case, ()) if old.seed == new.seed]
        texts = {text for old, new in pairs for text in condition_changes(old.conditions, new.conditions)}
        for text in sorted(texts):
            cases.setdefault(text, []).append(case)
    both = [case for case in before if case in after]
    for text, where in cases.items():
        head = "" if len(where) == len(both) else f"{', '.join(where)}: "
        yield f"{head}the sides differ in {text}"


def _idle_tolerances(
    tolerances: Mapping[str, float], changes: Sequence[Change], missing: Sequence[Missing]
) -> Iterator[str]:
    """Notes on tolerances without effect."""
    if not changes:
        return
    verdicts: dict[str, list[Verdict | None]] = {each.name: [] for each in missing}
    for change in changes:
        verdicts.setdefault(change.name, []).append(change.verdict)
    for name in tolerances:
        if name not in verdicts:
            yield f"tolerance {name}: neither side has such a quantity ({hint(name, verdicts)})"
        elif verdicts[name] and set(verdicts[name]) == {None}:
            yield f"tolerance {name}: neither direction is better, so it cannot fail a check"


def _machine_notes(before: Sequence[Record], after: Sequence[Record]) -> Iterator[str]:
    """A note if the machine's speed differs between the sides, by the reference workload."""
    works = [
        {
            (record.measured.get("reference_version"), hardware(record).get("device"))
            for record in side
            if record.speed
        }
        for side in (before, after)
    ]
    if works[0] != works[1]:
        return  # different workloads
    times = []
    for side in (before, after):
        found = {timing.reference for record in side for timing in record.speed.values()}
        times.append([time for rounds in found for time in rounds])
    if all(times):
        ratio = median(times[1]) / median(times[0])
        if not 1 / 1.05 < ratio < 1.05:
            yield f"the reference workload took {ratio:.2f} x the time; speeds are compared relative to it"


def _disturbance_notes(before: Sequence[Record], after: Sequence[Record]) -> Iterator[str]:
    """Notes on speeds that were measured on a disturbed machine."""
    for side, records in (("before", before), ("after", after)):
        names = dict.fromkeys(
            f"{record.case} {name}"
            for record in records
            for name in record.speed
            if record.is_disturbed(name)
        )
        if names:
            yield f"{first_few(list(names), 3)}: other work slowed the machine {side}"

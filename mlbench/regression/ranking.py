"""Ranking: the cases of one run that are the best in a metric within noise, with the smallest and the fastest
of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mlbench.errors import first_few
from mlbench.records.record import Estimate, Record, Timing
from mlbench.records.report import metric_text
from mlbench.regression.change import Verdict, speed_change
from mlbench.regression.statistics import paired_interval

__all__ = ["Ranking", "ranking_sentences", "rankings"]

#: Cases named in a sentence; the others are counted.
_NAMED = 5

#: Speeds that differ by less than this share count as equal.
_SPEED_TOLERANCE = 0.05

_LEVEL = 0.95

_SPEED = "images_per_second"


@dataclass(frozen=True)
class Ranking:
    """The cases by one metric. name, heading: of the metric. means: over seeds of every ranked case, the best
    first. equal: those that are the best within noise, the best first. smallest, fastest: those of `equal`
    that are, each () where all are or it is not known. seeds: the least number of a case of `equal`.
    left_out: why other cases are not ranked, a few words each. sentence: all of it."""

    name: str
    heading: str
    means: Mapping[str, float]
    equal: tuple[str, ...]
    smallest: tuple[str, ...]
    fastest: tuple[str, ...]
    seeds: int
    left_out: tuple[str, ...]
    sentence: str


def ranking_sentences(
    records: Sequence[Record], headings: Mapping[str, str], tolerances: Mapping[str, float]
) -> list[str]:
    """One sentence per metric, of `rankings`."""
    return [each.sentence for each in rankings(records, headings, tolerances)]


def rankings(
    records: Sequence[Record], headings: Mapping[str, str], tolerances: Mapping[str, float]
) -> list[Ranking]:
    """The ranking of the cases by each metric. headings: of the metrics, by name. tolerances: the largest
    loss against the best case that still counts as equal.

    A case is worse than the best when Student's t interval of the paired differences over seeds excludes zero
    and their mean exceeds the tolerance; with one seed, when the intervals over classes do not overlap. Not
    ranked are cases on different data sets or with different evaluations, a case without a value in a seed,
    and a case with other seeds than most.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "done":
            groups.setdefault(record.case, []).append(record)
    tasks = {_task(record) for group in groups.values() for record in group}
    if len(groups) < 2 or len(tasks) > 1:
        return []
    found = []
    for name, heading in headings.items():
        values = {case: _by_seed(group, name) for case, group in groups.items()}
        complete = {
            case: known for case, known in values.items() if known and len(known) == len(groups[case])
        }
        seeds = Counter(frozenset(known) for known in complete.values()).most_common(1)
        means = {
            case: fmean(known.values()) for case, known in complete.items() if known.keys() == seeds[0][0]
        }
        higher = _higher_is_better(records, name)
        if len(means) < 2 or higher is None:
            continue
        ordered = sorted(means, key=lambda case: means[case], reverse=higher)
        best = ordered[0]
        tolerance = tolerances.get(name, 0.0)
        equal = [
            case
            for case in ordered
            if case == best or not _is_worse(groups[case], groups[best], name, higher, tolerance)
        ]
        lost = [
            f"{case} ({len(groups[case]) - len(known)} of {len(groups[case])} seeds)"
            for case, known in values.items()
            if 0 < len(known) < len(groups[case])
        ]
        other = [case for case in complete if case not in means]
        left_out = [f"not ranked, as a value is missing: {', '.join(lost)}"] if lost else []
        left_out += [f"not ranked, as they have other seeds: {', '.join(other[:_NAMED])}"] if other else []
        chosen = {case: groups[case] for case in equal}
        smallest, fastest = _smallest(chosen), _fastest(chosen)
        text = _sentence(heading, means, chosen, smallest, fastest, len(ordered))
        found.append(
            Ranking(
                name,
                heading,
                {case: means[case] for case in ordered},
                tuple(equal),
                tuple(smallest),
                tuple(fastest),
                min(len(group) for group in chosen.values()),
                tuple(left_out),
                "; ".join((text, *left_out)),
            )
        )
    return found


def _task(record: Record) -> str:
    """The data set and the protocol of a record, as text."""
    protocol = record.evaluation.get("protocol", {})
    return json.dumps([record.settings.get("dataset"), protocol], sort_keys=True)


def _sentence(
    heading: str,
    means: Mapping[str, float],
    groups: Mapping[str, list[Record]],
    smallest: Sequence[str],
    fastest: Sequence[str],
    total: int,
) -> str:
    """groups: records of the cases that are equal, the best first."""
    equal = list(groups)
    if len(equal) == 1:
        return f"{heading}: {equal[0]} is the best ({metric_text(means[equal[0]])}), by more than noise"
    names = first_few([f"{case} ({metric_text(means[case])})" for case in equal], _NAMED)
    which = "all cases" if len(equal) == total else "the best"
    seeds = min(len(group) for group in groups.values())
    noise = f"the noise of {seeds} seeds" if seeds > 1 else "their intervals over classes (1 seed)"
    text = f"{heading}: {which} are equal within {noise}: {names}"
    extremes = []
    if smallest:
        megabytes = (groups[smallest[0]][0].size["bytes"] or 0) / 1e6
        extremes.append(f"{_named(smallest)} {_verb(smallest)} the smallest ({megabytes:.2f} MB)")
    if fastest:
        speed = _mean(groups[fastest[0]], _SPEED) or 0
        extremes.append(f"{_named(fastest)} {_verb(fastest)} the fastest ({speed:,.0f} images/s)")
    return f"{text}; of these, {' and '.join(extremes)}" if extremes else text


def _smallest(groups: Mapping[str, list[Record]]) -> list[str]:
    """The smallest cases; none where all are, or a size is not known."""
    sizes = {case: group[0].size.get("bytes") for case, group in groups.items()}
    known = {case: size for case, size in sizes.items() if size is not None}
    least = min(known.values(), default=0)
    cases = [case for case, size in known.items() if size == least]
    return cases if len(known) == len(groups) and len(cases) < len(groups) else []


def _fastest(groups: Mapping[str, list[Record]]) -> list[str]:
    """The fastest case, with those whose difference from it is not significant; none where all are, or a
    speed is not known."""
    speeds = {case: _mean(group, _SPEED) for case, group in groups.items()}
    known = {case: speed for case, speed in speeds.items() if speed is not None}
    if len(known) < len(groups):
        return []
    best = max(known, key=lambda case: known[case])
    facts = {"case": best, "group": "speed", "name": _SPEED, "before": 0.0, "after": 0.0}
    cases = [
        case
        for case in known
        if case == best
        or speed_change(groups[best], groups[case], {**facts, "tolerance": _SPEED_TOLERANCE}, _LEVEL).verdict
        is not Verdict.WORSE
    ]
    return sorted(cases, key=lambda case: -known[case]) if len(cases) < len(groups) else []


def _named(cases: Sequence[str]) -> str:
    return " and ".join(cases[:_NAMED])


def _verb(cases: Sequence[str]) -> str:
    return "is" if len(cases) == 1 else "are"


def _mean(records: Sequence[Record], name: str) -> float | None:
    values = list(_by_seed(records, name).values())
    return fmean(values) if values else None


def _by_seed(records: Sequence[Record], name: str) -> dict[int, float]:
    """Values of a metric or speed by seed."""
    found = {}
    for record in records:
        each: Estimate | Timing | None = record.metrics.get(name) or record.speed.get(name)
        if each is not None and each.value is not None:
            found[record.seed] = each.value
    return found


def _higher_is_better(records: Sequence[Record], name: str) -> bool | None:
    return next((r.metrics[name].higher_is_better for r in records if name in r.metrics), None)


def _is_worse(
    records: Sequence[Record], best: Sequence[Record], name: str, higher: bool, tolerance: float
) -> bool:
    """Whether a case is worse than the best by more than noise and tolerance."""
    here, there = _by_seed(records, name), _by_seed(best, name)
    lacks = [(there[seed] - here[seed]) * (1 if higher else -1) for seed in here.keys() & there.keys()]
    interval = paired_interval(lacks, _LEVEL)
    if interval is not None:
        return interval.low > 0 and interval.value > tolerance
    low, high = (_bounds(side, name) for side in ((records, best) if higher else (best, records)))
    return fmean(lacks or [0.0]) > tolerance and low is not None and high is not None and low[1] < high[0]


def _bounds(records: Sequence[Record], name: str) -> tuple[float, float] | None:
    """The interval of a metric over classes, of the first record with the metric; None if there is none."""
    each = next((record.metrics[name] for record in records if name in record.metrics), Estimate(None))
    return None if each.low is None or each.high is None else (each.low, each.high)

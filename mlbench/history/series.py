"""Series: one quantity of one case over its runs, with the steps in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from mlbench.history.moves import LEVEL, Move, Point, exact_move, judged_means, judged_shares
from mlbench.history.runs import Run
from mlbench.history.steps import ENOUGH, Step, exact_steps, find_steps, noise
from mlbench.records.record import MEASURED, Estimate, Timing
from mlbench.regression.change import CONDITIONS
from mlbench.regression.comparison import GATED, TOLERANCES
from mlbench.regression.statistics import median_interval, paired_interval

__all__ = ["Break", "Series", "series_of"]

#: Seeds from which on the interval of a point is over seeds: of two, it is wider than any chart.
_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Break:
    """A place from which on values are not comparable with those before. at: index of the first such point.
    reason: "other data (A before, B after)"."""

    at: int
    reason: str


@dataclass(frozen=True)
class Series:
    """A quantity of a case over its runs, oldest first. group: metrics, speed, memory or size. machine: of
    speeds and memory, whose runs on other machines are other series; "" elsewhere. heading: of a metric, as
    it announced it. headline: whether its metric announced it as one, or a gate watches it. noise: standard
    deviation from run to run, a share of the value for speeds and memory. paced: whether a speed is
    corrected by the reference workload. remark: why there is no search for steps, "" where there is one."""

    case: str
    group: str
    name: str
    machine: str
    unit: str
    higher_is_better: bool | None
    heading: str
    headline: bool
    points: tuple[Point, ...]
    breaks: tuple[Break, ...] = ()
    moves: tuple[Move, ...] = ()
    noise: float = 0.0
    tolerance: float = 0.0
    paced: bool = False
    remark: str = ""


def series_of(case: str, runs: Sequence[Run], tolerances: Mapping[str, float]) -> list[Series]:
    """All series of a case: headline metrics first, then the others, speeds, memory, sizes. tolerances: by
    quantity, as stated or announced. Raises StoreError where the library of the search is missing."""
    found = []
    names = [name for run in runs for record in run.done for name in record.metrics]
    headlines = {n for run in runs for each in run.done for n, e in each.metrics.items() if e.headline}
    for name in sorted(dict.fromkeys(names), key=lambda name: name not in headlines):
        headline = name in headlines or name in tolerances
        found.append(_metric(case, name, runs, tolerances.get(name, 0.0), headline=headline))
    for group in ("speed", "memory"):
        names = [name for run in runs for record in run.done for name in getattr(record, group)]
        for name in _in_order(names):
            for machine in dict.fromkeys(run.machine for run in runs):
                here = [run for run in runs if run.machine == machine]
                tolerance = tolerances.get(name, TOLERANCES[group])
                found.append(_timing(case, group, name, machine, here, tolerance))
    names = [name for run in runs for record in run.done for name in record.size]
    for name in _in_order(names):
        found.append(_size(case, name, runs, tolerances.get(name, TOLERANCES["size"])))
    return [each for each in found if each.points]


def _metric(case: str, name: str, runs: Sequence[Run], tolerance: float, *, headline: bool) -> Series:
    points, last = [], Estimate(None)
    for run in runs:
        known = {r.seed: r.metrics[name] for r in run.done if name in r.metrics}
        seeds = {seed: each.value for seed, each in known.items() if each.value is not None}
        if not seeds:
            continue
        last = known[next(reversed(seeds))]
        mean = fmean(seeds.values())
        lows = [each.low for each in known.values() if each.low is not None]
        highs = [each.high for each in known.values() if each.high is not None]
        low, high, basis = (fmean(lows), fmean(highs), "classes") if lows and highs else (None, None, "")
        interval = paired_interval([*seeds.values()], LEVEL)
        if interval is not None and (len(seeds) >= _SEEDS or low is None):
            low, high, basis = interval.low, interval.high, f"{len(seeds)} seeds"
        points.append(Point(run, mean, mean, low, high, basis, seeds))
    breaks = tuple(_breaks(points, _metric_facts))
    if any(not _common_seeds(points[start:end]) for start, end in _stretches(points, breaks)):
        breaks = tuple(_breaks(points, _metric_facts, _seeds_of))
    moves = [
        move
        for start, end in _stretches(points, breaks)
        for move in _metric_moves(points, start, end, last.higher_is_better, tolerance)
    ]
    return Series(
        case, "metrics", name, "", last.unit, last.higher_is_better, last.heading, headline, tuple(points),
        breaks, tuple(moves), noise=_noise([p.value for p in points], breaks, moves), tolerance=tolerance,
        remark=_remark(points, breaks),
    )  # fmt: skip


def _metric_moves(
    points: Sequence[Point], start: int, end: int, higher: bool | None, tolerance: float
) -> Iterator[Move]:
    """The moves in a range of comparable points, by the means over the seeds that all of them have."""
    common = _common_seeds(points[start:end])
    values = [fmean((point.seeds or {})[seed] for seed in common) for point in points[start:end]]
    steps = [_shifted(step, start) for step in find_steps(values)]
    ends = [start, *(step.at for step in steps), end]
    for place, step in enumerate(steps):
        sides = points[ends[place] : step.at], points[step.at : ends[place + 2]]
        yield judged_means(step, points, sides, higher, tolerance)


def _common_seeds(points: Sequence[Point]) -> list[int]:
    """The seeds that all points have, if they are at least half of the seeds of each; else none. Means over
    other seeds differ without any change."""
    sets = [set(point.seeds or {}) for point in points]
    common = set.intersection(*sets) if sets else set()
    return sorted(common) if all(2 * len(common) >= len(each) for each in sets) else []


def _timing(case: str, group: str, name: str, machine: str, runs: Sequence[Run], tolerance: float) -> Series:
    """A speed or a memory peak on one machine. Steps are searched in logarithms, as the noise is a share."""
    unit, higher = MEASURED.get(name, ("", True))
    raw: list[tuple[Run, tuple[Timing, ...]]] = []
    for run in runs:
        by_seed = [getattr(record, group).get(name) for record in run.done]
        timed = tuple(dict.fromkeys(each for each in by_seed if each is not None and (each.value or 0) > 0))
        if timed:
            raw.append((run, timed))
            unit, higher = timed[-1].unit or unit, timed[-1].higher_is_better
    paces = [_pace(timings) for _, timings in raw]
    paced = group == "speed" and bool(paces) and all(pace is not None for pace in paces)
    usual = _usual_paces(raw, paces) if paced else {}
    points = []
    for (run, timings), pace in zip(raw, paces, strict=True):
        measured = fmean(each.value or 0.0 for each in timings)
        # At a pace of twice the usual seconds the machine does half of its usual work.
        factor = (pace or 1.0) / usual[_version(run)] if paced else 1.0
        factor = factor if higher else 1 / factor
        rounds = [each for timing in timings for each in timing.rounds]
        interval = median_interval(rounds, LEVEL)
        low, high = (interval.low * factor, interval.high * factor) if interval else (None, None)
        basis = f"{len(rounds)} rounds" if interval else ""
        points.append(Point(run, measured * factor, measured, low, high, basis))
    breaks = tuple(_breaks(points, _speed_facts if group == "speed" else _memory_facts))
    moves = []
    logs = [math.log(point.value) for point in points]
    for start, end in _stretches(points, breaks):
        for step in find_steps(logs[start:end]):
            moves.append(judged_shares(_shifted(step, start), points, higher, tolerance))
    return Series(
        case, group, name, machine, unit, higher, "", name in GATED, tuple(points), breaks, tuple(moves),
        noise=_noise(logs, breaks, moves), tolerance=tolerance, paced=paced, remark=_remark(points, breaks),
    )  # fmt: skip


def _size(case: str, name: str, runs: Sequence[Run], tolerance: float) -> Series:
    points = []
    for run in runs:
        values = [each for record in run.done if (each := record.size.get(name)) is not None]
        if values:
            points.append(Point(run, fmean(values), fmean(values)))
    higher = MEASURED.get(name, ("", False))[1]
    moves = [exact_move(each, points, higher, tolerance) for each in exact_steps([p.value for p in points])]
    return Series(
        case, "size", name, "", MEASURED.get(name, ("", False))[0], higher, "", name in GATED, tuple(points),
        moves=tuple(moves), tolerance=tolerance, remark="" if len(points) > 1 else "1 run",
    )  # fmt: skip


def _breaks(points: Sequence[Point], *facts: Callable[[Point], Mapping[str, str]]) -> Iterator[Break]:
    """Places at which facts that values must share differ from those of the run before."""
    for at, (old, new) in enumerate(pairwise(points), start=1):
        then, now = (
            {name: fact for each in facts for name, fact in each(point).items()} for point in (old, new)
        )
        changed = [name for name in then if then[name] != now[name]]
        if changed:
            name = changed[0]
            yield Break(at, f"other {name} ({then[name]} before, {now[name]} after)")


def _seeds_of(point: Point) -> dict[str, str]:
    return {"seeds": ", ".join(map(str, sorted(point.seeds or {})))}


def _metric_facts(point: Point) -> dict[str, str]:
    record = point.run.done[0]
    protocol = record.evaluation.get("protocol", {})
    return {
        "data": str(record.data.get("version", "")),
        "gallery": f"{protocol.get('split', 'test')} {protocol.get('gallery', '')}".strip(),
    }


def _speed_facts(point: Point) -> dict[str, str]:
    record = point.run.done[0]
    return {what: str(record.measured.get(name)) for name, what in CONDITIONS.items()}


def _memory_facts(point: Point) -> dict[str, str]:
    record = point.run.done[0]
    names = ("batch_size", "training_batch_size")
    return {CONDITIONS[name]: str(record.measured.get(name)) for name in names}


def _stretches(points: Sequence[Point], breaks: Sequence[Break]) -> Iterator[tuple[int, int]]:
    """Start and end of the longest ranges of comparable points."""
    return pairwise((0, *(each.at for each in breaks), len(points)))


def _shifted(step: Step, start: int) -> Step:
    return replace(step, at=step.at + start)


def _noise(values: Sequence[float], breaks: Sequence[Break], moves: Sequence[Move]) -> float:
    """The noise of all comparable points."""
    return noise(values, {*(each.at for each in breaks), *(move.step.at for move in moves)})


def _remark(points: Sequence[Point], breaks: Sequence[Break]) -> str:
    if not points:
        return ""
    *_, (start, end) = _stretches(points, breaks)
    if end - start >= ENOUGH:
        return ""
    runs = "1 run" if end - start == 1 else f"{end - start} runs"
    return f"too short: {runs}{' since the last break' if breaks else ''}, of {ENOUGH} that a step needs"


def _pace(timings: Sequence[Timing]) -> float | None:
    """Median seconds of the reference workload beside the rounds; None where it was not timed."""
    if not all(each.reference for each in timings):
        return None
    return median(second for each in timings for second in each.reference)


def _usual_paces(raw: Sequence[tuple[Run, object]], paces: Sequence[float | None]) -> dict[str, float]:
    """The median pace for each version of the reference workload."""
    known: dict[str, list[float]] = {}
    for (run, _), pace in zip(raw, paces, strict=True):
        known.setdefault(_version(run), []).append(pace or 1.0)
    return {version: median(each) for version, each in known.items()}


def _version(run: Run) -> str:
    return str(run.done[0].measured.get("reference_version"))


def _in_order(names: Sequence[str]) -> list[str]:
    """Each name once, in the order of `MEASURED`."""
    order = {name: place for place, name in enumerate(MEASURED)}
    return sorted(dict.fromkeys(names), key=lambda name: order.get(name, len(order)))

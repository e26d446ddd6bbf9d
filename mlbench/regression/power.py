"""Power analysis: seeds needed to detect a change of each tolerance, from the spread over existing seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, stdev

from mlbench.records.record import MEASURED, Record
from mlbench.regression.statistics import samples_needed
from mlbench.table import Table

__all__ = ["Power", "plan_power", "power_json", "power_table"]


@dataclass(frozen=True, slots=True)
class Power:
    """Seeds that a case needs to show a change of the tolerance in one metric.

    known: number of existing seeds. spread: standard deviation of the metric over them, None for fewer than
    two. seeds: number needed on either side, None if unknown or more than 1,000. caught: loss that a gate
    with this tolerance fails with the same probability; a loss of the tolerance itself is allowed.
    """

    case: str
    metric: str
    tolerance: float
    known: int
    spread: float | None = None
    seeds: int | None = None
    caught: float | None = None
    note: str = ""


def plan_power(
    cases: Sequence[str],
    records: Sequence[Record],
    tolerances: Mapping[str, float],
    *,
    power: float = 0.8,
    level: float = 0.95,
) -> list[Power]:
    """The number of seeds per case that detects a true change of the tolerance with this probability (power),
    that is, with which the paired t interval of comparisons excludes zero.

    The correlation between the seeds of two versions is unknown in advance. Without correlation the paired
    differences spread by the square root of 2 times the spread over seeds; a positive correlation needs fewer
    seeds.
    """
    found = []
    for case in cases:
        for metric, tolerance in tolerances.items():
            if metric in MEASURED:
                continue  # compared over rounds, not seeds
            values = [
                value
                for record in records
                if record.case == case and metric in record.metrics
                if (value := record.metrics[metric].value) is not None
            ]
            found.append(_power(case, metric, tolerance, values, power, level))
    return found


def _power(
    case: str, metric: str, tolerance: float, values: Sequence[float], power: float, level: float
) -> Power:
    if len(values) < 2:
        count = "no seed has been run" if not values else "1 seed has been run"
        return Power(case, metric, tolerance, len(values), note=f"spread not known: {count}")
    spread = stdev(values)
    if tolerance == 0:
        return Power(case, metric, tolerance, len(values), spread, note="none suffices for a tolerance of 0")
    if spread == 0:
        return Power(case, metric, tolerance, len(values), spread, 3, note="no spread so far")
    paired = math.sqrt(2) * spread
    needed = samples_needed(paired, tolerance, power=power, level=level)
    if needed is None:
        return Power(case, metric, tolerance, len(values), spread, note="more than 1,000")
    caught = tolerance + NormalDist().inv_cdf(power) * paired / math.sqrt(needed)
    return Power(case, metric, tolerance, len(values), spread, needed, caught)


def power_table(found: Sequence[Power]) -> Table:
    """A table with one row per case and metric."""
    headings = (
        "case",
        "metric",
        "tolerance",
        "seeds so far",
        "spread",
        "seeds needed",
        "gate fails from",
        "",
    )
    rows = [
        (
            each.case,
            each.metric,
            f"{each.tolerance:g}",
            str(each.known),
            "?" if each.spread is None else f"{each.spread:.4f}",
            "?" if each.seeds is None else str(each.seeds),
            "" if each.caught is None else f"-{each.caught:.4f}",
            each.note,
        )
        for each in found
    ]
    return Table(
        headings,
        rows,
        numbers=headings[2:7],
        title="Seeds needed to detect a change of the tolerance (80 % power)",
    )


def power_json(found: Sequence[Power]) -> str:
    """Power analysis as JSON."""
    return json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False)

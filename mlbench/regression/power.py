"""Power: how many seeds it takes to see each tolerance of a suite, from the spread over seeds so far."""

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
    """What a case needs to show a change of the tolerance in one metric.

    known: seeds that the spread is taken from. spread: standard deviation of a metric over seeds, None for
    fewer than two. seeds: on either side, None where it is not known or more than 1,000. caught: the loss
    that a gate of this tolerance then fails with the same probability; the tolerance itself is still allowed.
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
    """The seeds of each case with which a true change of just the tolerance is told from no change with this
    probability (power): the paired t interval that comparisons use leaves out zero.

    Before the change is there, nobody knows how its seeds go with today's: the paired differences are taken
    to spread as if they did not at all, by the square root of 2 times the spread over seeds. Where they do,
    fewer suffice.
    """
    found = []
    for case in cases:
        for metric, tolerance in tolerances.items():
            if metric in MEASURED:
                continue  # told by rounds, not by seeds
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
        return Power(case, metric, tolerance, len(values), spread, note="no tolerance, no number of seeds")
    if spread == 0:
        return Power(case, metric, tolerance, len(values), spread, 3, note="no spread so far")
    paired = math.sqrt(2) * spread
    needed = samples_needed(paired, tolerance, power=power, level=level)
    if needed is None:
        return Power(case, metric, tolerance, len(values), spread, note="more than 1,000")
    caught = tolerance + NormalDist().inv_cdf(power) * paired / math.sqrt(needed)
    return Power(case, metric, tolerance, len(values), spread, needed, caught)


def power_table(found: Sequence[Power]) -> Table:
    """A row a case and metric."""
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
        title="Seeds that tell a change of the tolerance from none (80 % power)",
    )


def power_json(found: Sequence[Power]) -> str:
    """The same as JSON."""
    return json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False)

"""Cases of the page: the values of each over its seeds, as the tables of the terminal have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from mlbench.records.record import MEASURED, Estimate, Record, Timing

__all__ = ["CaseRow", "Figure", "case_rows"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric, speed, memory peak or size of a case. value: the mean over seeds. spread: their standard
    deviation, None for one seed. low, high: the mean bounds of the interval within a seed, None without.
    seeds: those that have a value. disturbed: whether other work slowed the machine in one of them."""

    value: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 1
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case with its seeds. figures: by name of the metric, speed, peak or size; one that no seed has is
    absent. axes: labels on the axes of the suite's matrix. failed: seeds that failed, with their errors."""

    name: str
    seeds: tuple[int, ...]
    figures: Mapping[str, Figure]
    axes: Mapping[str, str]
    failed: Mapping[int, str]

    def value(self, name: str) -> float | None:
        """The mean of a figure over seeds, None where the case has none."""
        return self.figures[name].value if name in self.figures else None


def case_rows(records: Sequence[Record]) -> tuple[CaseRow, ...]:
    """The cases of records in their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case, []).append(record)
    rows = []
    for name, group in groups.items():
        done = [record for record in group if record.status == "done"]
        names = dict.fromkeys(name for record in done for name in (*record.metrics, *MEASURED))
        figures = {name: _figure(name, done) for name in names}
        rows.append(
            CaseRow(
                name,
                tuple(record.seed for record in done),
                {name: each for name, each in figures.items() if each is not None},
                dict(group[-1].axes),
                {record.seed: record.error for record in group if record.status != "done"},
            )
        )
    return tuple(rows)


def _figure(name: str, records: Iterable[Record]) -> Figure | None:
    values, lows, highs, disturbed = [], [], [], False
    for record in records:
        found: Estimate | Timing | None = (
            record.metrics.get(name) or record.speed.get(name) or record.memory.get(name)
        )
        value = record.size.get(name) if found is None else found.value
        if value is None:
            continue
        values.append(float(value))
        disturbed |= record.is_disturbed(name)
        if isinstance(found, Estimate) and found.low is not None and found.high is not None:
            lows.append(found.low)
            highs.append(found.high)
    if not values:
        return None
    return Figure(
        fmean(values),
        stdev(values) if len(values) > 1 else None,
        fmean(lows) if lows else None,
        fmean(highs) if highs else None,
        len(values),
        disturbed,
    )

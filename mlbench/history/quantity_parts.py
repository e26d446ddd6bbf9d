"""Quantities as parts of a page: the charts of every case, and a table of their values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from mlbench.contracts import Chart, Part
from mlbench.history.charts import series_chart
from mlbench.history.series import Series
from mlbench.history.templates import template
from mlbench.history.texts import (
    change_text,
    counted,
    noise_text,
    quantity_text,
    run_text,
    unit_text,
    value_text,
    verdict_text,
)
from mlbench.regression.change import Verdict

__all__ = ["quantities_part"]

#: Charts of one quantity on one machine.
_CHARTS = 24

#: Points of all charts of one part: a point takes about 170 bytes of the page.
_POINTS = 15_000

#: Notes on one quantity.
_NOTES = 12


def quantities_part(anchor: str, series: Sequence[Series]) -> Part:
    """Series, those of the same quantity and machine together. anchor: of the section."""
    quantities, cases = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in ((each.name for each in series), (each.case for each in series))
    )
    ordered = sorted(series, key=lambda each: (quantities[each.name], each.machine, cases[each.case]))
    shown: list[dict[str, Any]] = []
    charts: dict[str, Chart] = {}
    room = _POINTS
    for _, group in groupby(ordered, key=lambda each: (each.name, each.machine)):
        members = list(group)
        verdicts = [move.verdict for each in members for move in each.moves]
        names: dict[str, str] = {}
        left_out = 0
        # Those with steps first, where there are too many.
        for each in sorted(members, key=lambda each: not each.moves):
            if len(each.points) < 2:
                continue
            if len(names) >= _CHARTS or len(each.points) > room:
                left_out += 1
                continue
            names[each.case] = f"{anchor}-{len(shown)}-{len(names)}"
            charts[names[each.case]] = series_chart(each)
            room -= len(each.points)
        unit = unit_text(members[0])
        shown.append(
            {
                "anchor": f"{anchor}-{len(shown)}",
                "title": quantity_text(members[0]) + (f" ({unit})" if unit else ""),
                "machine": members[0].machine,
                "charts": [(each.case, names[each.case]) for each in members if each.case in names],
                "not_drawn": f"Not drawn, so that the page stays small: {counted(left_out, 'case')}."
                if left_out
                else "",
                "open": not shown or (members[0].headline and Verdict.WORSE in verdicts),
                "worse": verdicts.count(Verdict.WORSE),
                "better": verdicts.count(Verdict.BETTER),
                "rows": [_series_row(each) for each in members],
                "notes": _series_notes(members),
            }
        )
    return Part(template("quantities"), {"shown": shown}, charts)


def _series_row(series: Series) -> dict[str, Any]:
    newest = series.points[-1]
    interval = ""
    if newest.low is not None and newest.high is not None:
        ends = f"{value_text(series, newest.low)} to {value_text(series, newest.high)}"
        interval = f"{ends} ({newest.basis})"
    step = series.remark or "none"
    if series.moves:
        move = series.moves[-1]
        words = verdict_text(move.verdict, series.tolerance)
        step = f"{change_text(series, move)} at {run_text(move.after)}: {words}"
    return {
        "case": series.case,
        "runs": len(series.points),
        "first": value_text(series, series.points[0].value),
        "newest": value_text(series, newest.value),
        "interval": interval,
        "noise": noise_text(series),
        "step": step,
    }


def _series_notes(members: Sequence[Series]) -> list[str]:
    notes = {
        f"{each.case}: not compared across the run {run_text(each.points[stop.at].run)}, {stop.reason}": None
        for each in members
        for stop in each.breaks
    }
    if members[0].group == "speed" and any(each.paced for each in members):
        notes["Corrected by the reference workload to the usual pace of this machine."] = None
    return [*notes][:_NOTES]

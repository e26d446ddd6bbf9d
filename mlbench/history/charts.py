"""Charts of a history: a quantity of a case over time, with intervals, steps and breaks."""

from __future__ import annotations

from typing import Any

from mlbench.contracts import Chart
from mlbench.history.series import Series
from mlbench.history.texts import (
    change_text,
    counted,
    day_text,
    quantity_text,
    run_text,
    scaled,
    unit_text,
    value_text,
    verdict_text,
)
from mlbench.regression.change import Verdict

__all__ = ["series_chart"]

_COLOURS = {Verdict.WORSE: "var(--bad)", Verdict.BETTER: "var(--good)"}

#: Labels of the time axis: as by default, but with hours from 0 to 23, as the tables have them.
_TIME = "utcFormat(datum.value, {hours: '%H:%M', minutes: '%H:%M'})"

#: How far the drawn range goes beyond that of the values, as a share of it, where intervals are wider.
_BEYOND = 0.75


def series_chart(series: Series) -> Chart:
    """The chart of a series: points joined by a line, broken where values are not comparable, with their
    intervals, and an upright line where a step begins."""
    points = _points(series)
    unit = unit_text(series)
    axis = {"tickCount": 5, "labelExpr": _TIME}
    x = {"field": "t", "type": "temporal", "scale": {"type": "utc"}, "title": None, "axis": axis}
    scale = {"zero": False, "domain": _domain(series)}
    y = {"field": "v", "type": "quantitative", "scale": scale, "title": unit or None}
    told = [
        {"field": field, "type": "nominal", "title": title}
        for field, title in (
            ("text", quantity_text(series)),
            ("range", "interval"),
            ("run", "revision"),
            ("day", "finished (UTC)"),
        )
    ]
    layers: list[dict[str, Any]] = []
    for verdict in dict.fromkeys(move.verdict for move in series.moves):
        colour = _COLOURS.get(verdict, "var(--soft)") if verdict else "var(--soft)"
        layers.append(
            {
                "mark": {"type": "rule", "strokeWidth": 2, "strokeDash": [5, 3], "color": colour},
                "data": {"values": _steps(series, verdict)},
                "encoding": {
                    "x": x,
                    "tooltip": [
                        {"field": field, "type": "nominal", "title": title}
                        for field, title in (
                            ("step", "step"),
                            ("verdict", "verdict"),
                            ("from", "last before"),
                            ("to", "first after"),
                        )
                    ],
                },
            }
        )
    if any("l" in row for row in points):
        layers.append(
            {
                "mark": {"type": "rule", "opacity": 0.45, "clip": True, "color": "var(--c1)"},
                "transform": [{"filter": "isValid(datum.l)"}],
                "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "h"}},
            }
        )
    layers += [
        {
            "mark": {"type": "line", "strokeWidth": 1.5, "color": "var(--c1)"},
            "encoding": {"x": x, "y": y, "detail": {"field": "part"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 40, "color": "var(--c1)"},
            "encoding": {"x": x, "y": y, "tooltip": told},
        },
    ]
    return Chart(
        {"height": 150, "data": {"values": points}, "layer": layers},
        f"{quantity_text(series)} of {series.case} over {counted(len(points), 'run')}, "
        f"with {counted(len(series.moves), 'step')}; the table below has the values.",
    )


def _domain(series: Series) -> list[float]:
    """What the chart covers: the intervals, but at most so much that the values stay apart."""
    values = [scaled(series, point.value) for point in series.points]
    low, high = min(values), max(values)
    room = (high - low) * _BEYOND or abs(low) * 0.05 or 1.0
    ends = [
        scaled(series, end) for point in series.points for end in (point.low, point.high) if end is not None
    ]
    least, most = min([*ends, low]), max([*ends, high])
    least, most = max(least, low - room), min(most, high + room)
    margin = (most - least) * 0.05 or room
    return [least - margin, most + margin]


def _points(series: Series) -> list[dict[str, Any]]:
    rows = []
    breaks = [each.at for each in series.breaks]
    for place, point in enumerate(series.points):
        text = value_text(series, point.value)
        if point.measured != point.value:
            text += f" (measured {value_text(series, point.measured)})"
        row: dict[str, Any] = {
            "t": point.run.at,
            "v": scaled(series, point.value),
            "text": text,
            "range": "–",
            "run": run_text(point.run),
            "day": day_text(point.run),
            "part": sum(at <= place for at in breaks),
        }
        if point.low is not None and point.high is not None:
            row["l"], row["h"] = scaled(series, point.low), scaled(series, point.high)
            ends = f"{value_text(series, point.low)} to {value_text(series, point.high)}"
            row["range"] = f"{ends} over {point.basis}"
        rows.append(row)
    return rows


def _steps(series: Series, verdict: Verdict | None) -> list[dict[str, str]]:
    return [
        {
            "t": move.after.at,
            "step": change_text(series, move),
            "verdict": verdict_text(move.verdict, series.tolerance),
            "from": run_text(move.before),
            "to": run_text(move.after),
        }
        for move in series.moves
        if move.verdict is verdict
    ]

"""Charts of a history: a quantity of every case over time, with intervals, steps and breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlbench.contracts import Chart
from mlbench.history.series import Series
from mlbench.history.texts import (
    change_text,
    day_text,
    quantity_text,
    run_text,
    scaled,
    unit_text,
    value_text,
    verdict_text,
)
from mlbench.regression.change import Verdict

__all__ = ["quantity_chart"]

_COLOURS = {Verdict.WORSE: "var(--bad)", Verdict.BETTER: "var(--good)"}


def quantity_chart(series: Sequence[Series]) -> Chart:
    """One quantity of several cases over time. series: of the same quantity and machine."""
    first = series[0]
    points = [row for each in series for row in _points(each)]
    steps = [row for each in series for row in _steps(each)]
    unit = unit_text(first)
    title = quantity_text(first) + (f" ({unit})" if unit else "")
    x = {"field": "t", "type": "temporal", "scale": {"type": "utc"}, "title": None}
    y = {"field": "v", "type": "quantitative", "scale": {"zero": False, "nice": True}, "title": title}
    faded = {"condition": {"param": "picked", "value": 1}, "value": 0.08}
    told = [
        {"field": "case", "title": "case"},
        {"field": "text", "title": quantity_text(first)},
        {"field": "range", "title": "interval"},
        {"field": "run", "title": "revision"},
        {"field": "day", "title": "finished"},
    ]
    colour = {
        "field": "case",
        "type": "nominal",
        "sort": [each.case for each in series],
        "title": None,
        "legend": {"orient": "bottom", "columns": 4} if len(series) > 1 else None,
    }
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [5, 3]},
            "data": {"values": steps},
            "encoding": {
                "x": x,
                "color": {"field": "colour", "type": "nominal", "scale": None, "legend": None},
                "opacity": faded,
                "tooltip": [
                    {"field": "case", "title": "case"},
                    {"field": "step", "title": "step"},
                    {"field": "verdict", "title": "verdict"},
                    {"field": "from", "title": "last before"},
                    {"field": "to", "title": "first after"},
                ],
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": {**y, "field": "l"},
                "y2": {"field": "h"},
                "color": colour,
                "opacity": {"condition": {"param": "picked", "value": 0.45}, "value": 0.05},
            },
        },
        {
            "mark": {"type": "line", "strokeWidth": 1.5},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "detail": {"field": "part"},
                "opacity": faded,
            },
        },
        {
            "params": [{"name": "picked", "select": {"type": "point", "fields": ["case"]}, "bind": "legend"}],
            "mark": {"type": "point", "filled": True, "size": 45},
            "encoding": {"x": x, "y": y, "color": colour, "opacity": faded, "tooltip": told},
        },
    ]
    if not steps:
        del layers[0]
    spec = {"height": 230, "data": {"values": points}, "layer": layers}
    runs = max(len(each.points) for each in series)
    cases = f"{len(series)} cases" if len(series) > 1 else first.case
    return Chart(
        spec,
        f"{quantity_text(first)} of {cases} over {runs} runs, with {len(steps)} steps; "
        "the table below has the values.",
    )


def _points(series: Series) -> list[dict[str, Any]]:
    rows = []
    breaks = [each.at for each in series.breaks]
    for place, point in enumerate(series.points):
        text = value_text(series, point.value)
        if point.measured != point.value:
            text += f" (measured {value_text(series, point.measured)})"
        row: dict[str, Any] = {
            "case": series.case,
            "t": point.run.finished,
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


def _steps(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "case": series.case,
            "t": move.after.finished,
            "colour": _COLOURS.get(move.verdict, "var(--soft)") if move.verdict else "var(--soft)",
            "step": change_text(series, move),
            "verdict": verdict_text(move.verdict, series.tolerance),
            "from": run_text(move.before),
            "to": run_text(move.after),
        }
        for move in series.moves
    ]

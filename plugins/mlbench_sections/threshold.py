"""The threshold: what it accepts, and what another one would cost."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseFindings, Chart, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case, share

__all__ = ["Threshold"]

#: Points of a curve that are drawn where there are at most ten cases; details have as many.
_POINTS = 400

#: Decimals of what is drawn; the fitted threshold has all.
_DECIMALS = 6


class Threshold(SectionOptions):
    """Precision, recall and F1 of pairs by the distance up to which they count as the same. A slider moves
    the distance; the fitted threshold is marked with its interval. Below: the distance that each precision
    needs, and the recall and F1 that are left."""

    place: ClassVar[int] = 400

    precisions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.9, 0.95, 0.99, 0.999, 1.0)
    """Precisions of the table."""

    def build(self, context: PageContext) -> Section | None:
        step = -(-_POINTS // share(context, _POINTS, 10 * _POINTS, 100))
        return by_case(context, "Threshold", "threshold", lambda case, found: self._part(found, step))

    def _part(self, found: CaseFindings, step: int) -> Made:
        """step: every how many-th point is drawn."""
        sweep = found.details.sweep
        rows = [
            {
                "distance": float(distance),
                "precision": float(precision) if accepted > 0 else None,  # of no pairs there is none
                "recall": float(recall),
                "F1": float(f1),
                "accepted": float(accepted),
            }
            for distance, precision, recall, f1, accepted in zip(
                sweep.distance, sweep.precision, sweep.recall, sweep.f1, sweep.accepted, strict=True
            )
        ]
        if len(rows) < 2:
            return None
        fitted = next((row for row in rows if row["distance"] == sweep.fitted), None)
        estimate = found.record.metrics.get("threshold")
        low, high = (estimate.low, estimate.high) if estimate is not None else (None, None)
        values = {
            "fitted": fitted,
            "low": low,
            "high": high,
            "targets": [_target(rows, precision) for precision in self.precisions],
            "positives": sweep.positives,
            "negatives": sweep.negatives,
        }
        return values, {"sweep": _chart(rows[::step] + rows[-1:] if step > 1 else rows, fitted, low, high)}


def _target(rows: list[dict[str, Any]], precision: float) -> dict[str, Any]:
    """The largest distance at which pairs have a precision."""
    known = [row for row in rows if row["precision"] is not None and row["precision"] >= precision]
    return {"precision": precision, "row": known[-1] if known else None}


def _chart(
    rows: list[dict[str, Any]], fitted: dict[str, Any] | None, low: float | None, high: float | None
) -> Chart:
    # Beyond the distance where nearly everything is accepted, nothing changes.
    last = next((row["distance"] for row in rows if row["recall"] >= 0.9999), rows[-1]["distance"])
    last = min(rows[-1]["distance"], max(last * 1.05, (high or 0.0) * 1.1))
    shown = [
        {name: None if value is None else round(value, _DECIMALS) for name, value in row.items()}
        for row in rows
        if row["distance"] <= last or row is fitted
    ]
    start = fitted["distance"] if fitted else shown[len(shown) // 2]["distance"]
    x = {"field": "distance", "type": "quantitative", "title": "distance", "scale": {"nice": False}}
    layers: list[dict[str, Any]] = []
    if low is not None and high is not None:
        layers.append(
            {
                "data": {"values": [{"low": low, "high": high}]},
                "mark": {"type": "rect", "color": "var(--c8)", "opacity": 0.18},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            }
        )
    layers.append(
        {
            "transform": [{"fold": ["precision", "recall", "F1"], "as": ["what", "value"]}],
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": x,
                "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]}},
                "color": {
                    "field": "what",
                    "type": "nominal",
                    "sort": ["precision", "recall", "F1"],
                    "legend": {"orient": "top", "title": None},
                },
                "strokeDash": {
                    "field": "what",
                    "type": "nominal",
                    "sort": ["precision", "recall", "F1"],
                    "legend": None,
                },
            },
        }
    )
    if fitted:
        layers.append(
            {
                "data": {"values": [fitted]},
                "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [2, 3]},
                "encoding": {"x": x},
            }
        )
    layers.append(
        {
            "data": {"values": [{"distance": start}]},
            "transform": [{"calculate": "distance", "as": "distance"}],
            "mark": {"type": "rule", "color": "var(--c2)", "strokeWidth": 2},
            "encoding": {"x": x},
        }
    )
    spec = {
        "height": 260,
        "params": [
            {
                "name": "distance",
                "value": start,
                "bind": {"input": "range", "min": 0, "max": last, "step": 0.0005, "name": "distance "},
            }
        ],
        "data": {"values": shown},
        "layer": layers,
    }
    return Chart(
        spec, "Precision, recall and F1 of pairs by the distance up to which two images count as the same."
    )

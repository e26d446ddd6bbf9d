"""Similarities of pairs of one class and of different classes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from mlbench.plugin import CaseFindings, Chart, PageContext, Section, SectionOptions
from mlbench_sections.detail import Made, by_case

__all__ = ["Similarities"]


class Similarities(SectionOptions):
    """Histograms of the cosine similarities of positive pairs, of one class, and negative pairs, of different
    classes, each as shares of its own pairs, with the fitted threshold."""

    place: ClassVar[int] = 420

    scale: Literal["linear", "log"] = "linear"
    """Of the shares."""

    def build(self, context: PageContext) -> Section | None:
        return by_case(context, "Similarities", "similarities", self._part)

    def _part(self, case: str, found: CaseFindings) -> Made:
        histogram, sweep = found.details.histogram, found.details.sweep
        rows: list[dict[str, Any]] = []
        counts = (
            ("same class", histogram.positives),
            ("other class", histogram.negatives),
        )
        for what, numbers in counts:
            total = int(numbers.sum())
            for at, count in enumerate(numbers):
                if count:
                    low, high = (round(float(each), 4) for each in histogram.edges[at : at + 2])
                    share = round(int(count) / total, 7)
                    rows.append({"low": low, "high": high, "pairs": int(count), "share": share, "what": what})
        if not rows:
            return None
        names = [name for name, _ in counts]
        y: dict[str, Any] = {
            "field": "share",
            "type": "quantitative",
            "title": "share of its pairs",
            "stack": None,
        }
        if self.scale == "log":
            y["scale"] = {"type": "log"}
        layers: list[dict[str, Any]] = [
            {
                "mark": {"type": "bar", "opacity": 0.6, "binSpacing": 0},
                "encoding": {
                    "x": {
                        "field": "low",
                        "type": "quantitative",
                        "bin": "binned",
                        "title": "cosine similarity",
                    },
                    "x2": {"field": "high"},
                    "y": y,
                    "color": {
                        "field": "what",
                        "type": "nominal",
                        "scale": {"domain": names},
                        "legend": {"orient": "top", "title": None},
                    },
                    "tooltip": [
                        {"field": "what", "title": "pairs"},
                        {"field": "low", "title": "from", "format": ".3f"},
                        {"field": "high", "title": "to", "format": ".3f"},
                        {"field": "pairs", "title": "number", "format": ",d"},
                    ],
                },
            }
        ]
        if sweep.fitted is not None:
            layers.append(
                {
                    "data": {"values": [{"similarity": 1 - sweep.fitted}]},
                    "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [2, 3]},
                    "encoding": {"x": {"field": "similarity", "type": "quantitative"}},
                }
            )
        spec = {"height": 220, "data": {"values": rows}, "layer": layers}
        text = "Shares of pairs of one class and of different classes by cosine similarity."
        exact = found.details.sampled < len(found.details.queries)
        values = {"fitted": sweep.fitted, "sampled": found.details.sampled if exact else 0}
        return {**values, "exact_from": float(histogram.exact_from)}, {"histogram": Chart(spec, text)}

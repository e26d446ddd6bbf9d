"""Trade-offs: a metric against what a model costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseRow, Chart, PageContext, Section, SectionOptions, metric_text
from mlbench_sections.quantities import MEASURES
from mlbench_sections.templates import template

__all__ = ["TradeOffs", "front"]

#: Costs, and whether more is better.
_COSTS = (("bytes", False), ("latency_p50", False), ("images_per_second", True))


class TradeOffs(SectionOptions):
    """Each headline metric against size, latency and throughput. On the front are the cases that no other
    case matches in both; they are named."""

    place: ClassVar[int] = 300

    metrics: Annotated[int, Field(ge=1)] = 2
    """Headline metrics, the first ones."""
    points: Annotated[int, Field(ge=2)] = 150
    """Cases in a chart besides the front, the best ones by the metric."""

    def build(self, context: PageContext) -> Section | None:
        charts: dict[str, Chart] = {}
        shown: list[dict[str, Any]] = []
        for name, heading in list(context.headlines.items())[: self.metrics]:
            better = context.higher_is_better(name)
            if better is None:
                continue
            for cost, more in _COSTS:
                known = [row for row in context.rows if {name, cost} <= row.figures.keys()]
                if len(known) < 2 or len({row.value(cost) for row in known}) < 2:
                    continue
                best = front(known, name, cost, higher=better, more=more)
                key = f"{name} {cost}"
                charts[key] = self._chart(known, best, name, heading, cost, higher=better)
                shown.append(
                    {
                        "key": key,
                        "title": f"{heading} against {MEASURES[cost].heading}",
                        "front": [row.name for row in best[:12]],
                        "more": max(0, len(best) - 12),
                        "left_out": max(0, len(known) - len(best) - self.points),
                    }
                )
        if not charts:
            return None
        return Section.of("Trade-offs", template("trade_offs"), charts, shown=shown)

    def _chart(
        self,
        rows: Sequence[CaseRow],
        best: Sequence[CaseRow],
        name: str,
        heading: str,
        cost: str,
        *,
        higher: bool,
    ) -> Chart:
        on_front = {row.name for row in best}
        ordered = sorted(rows, key=lambda row: row.figures[name].value, reverse=higher)
        others = [row for row in ordered if row.name not in on_front][: self.points]
        measure = MEASURES[cost]
        values = list(_values([*best, *others], on_front, name, cost))
        x = {
            "field": "x",
            "type": "quantitative",
            "title": measure.heading,
            "scale": {"zero": False, "padding": 12},
        }
        y = {"field": "y", "type": "quantitative", "title": heading, "scale": {"zero": False}}
        tooltip = [
            {"field": "case", "title": "case"},
            {"field": "value", "title": heading},
            {"field": "x", "title": measure.heading, "format": measure.form.replace(",", "")},
        ]
        spec = {
            "height": 240,
            "data": {"values": values},
            "layer": [
                {
                    "transform": [{"filter": "datum.low != null"}],
                    "mark": {"type": "rule", "opacity": 0.45},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "transform": [{"filter": "datum.front"}],
                    "mark": {"type": "line", "color": "var(--c2)", "strokeDash": [4, 3], "opacity": 0.8},
                    "encoding": {"x": x, "y": y, "order": {"field": "x", "type": "quantitative"}},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.95},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "tooltip": tooltip,
                        "color": {
                            "condition": {"test": "datum.front", "value": "var(--c2)"},
                            "value": "var(--c8)",
                        },
                        "shape": {
                            "condition": {"test": "datum.front", "value": "circle"},
                            "value": "diamond",
                        },
                    },
                },
                *(self._names(x, y, len(values), right=right) for right in (False, True)),
            ],
        }
        names = ", ".join(row.name for row in best[:12])
        return Chart(spec, f"{heading} of each case against {measure.heading}. On the front: {names}.")

    def _names(self, x: dict[str, Any], y: dict[str, Any], count: int, *, right: bool) -> dict[str, Any]:
        """Names of cases beside their points, on the side where there is room."""
        side = {"align": "right", "dx": -8} if right else {"align": "left", "dx": 8}
        chosen = "datum.right" if right else "!datum.right"
        return {
            "transform": [{"filter": f"{chosen} && datum.front" if count > 12 else chosen}],
            "mark": {"type": "text", "dy": -6, "limit": 130, "fontSize": 11, **side},
            "encoding": {"x": x, "y": y, "text": {"field": "case"}},
        }


def front(rows: Sequence[CaseRow], name: str, cost: str, *, higher: bool, more: bool) -> list[CaseRow]:
    """The cases that no other case matches or beats in metric and cost while being better in one of them, by
    rising cost value. higher, more: whether more of the metric, and of the cost, is better."""
    metric_sign, cost_sign = (1 if higher else -1), (1 if more else -1)
    keyed = sorted(
        ((cost_sign * row.figures[cost].value, metric_sign * row.figures[name].value, row) for row in rows),
        key=lambda each: (-each[0], -each[1]),
    )
    best: list[tuple[float, float, CaseRow]] = []
    for each in keyed:
        if not best or each[1] > best[-1][1] or each[:2] == best[-1][:2]:
            best.append(each)
    return sorted((row for _, _, row in best), key=lambda row: row.figures[cost].value)


def _values(rows: Sequence[CaseRow], best: set[str], name: str, cost: str) -> Iterator[dict[str, Any]]:
    costs = [row.figures[cost].value for row in rows]
    middle = (min(costs) + max(costs)) / 2
    for row in rows:
        metric = row.figures[name]
        yield {
            "case": row.name,
            "x": row.figures[cost].value / MEASURES[cost].unit,
            "y": metric.value,
            "low": metric.low,
            "high": metric.high,
            "value": metric_text(metric.value),
            "front": row.name in best,
            "right": row.figures[cost].value > middle,
        }

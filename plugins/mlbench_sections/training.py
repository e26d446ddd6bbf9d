"""Training: curves over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import Chart, PageContext, Section, SectionOptions
from mlbench_sections.templates import template

__all__ = ["Training"]


class Training(SectionOptions):
    """Every curve that training records, such as losses, learning rates and scores on the calibration split,
    by epoch: a line for each case and seed."""

    place: ClassVar[int] = 800

    cases: Annotated[int, Field(ge=1)] = 8
    """Cases that are drawn: the best ones by the headline metric, the chosen one among them."""

    def build(self, context: PageContext) -> Section | None:
        ranked = list(context.rankings[0].means) if context.rankings else []
        names = dict.fromkeys((context.choice.case, *ranked, *(row.name for row in context.rows)))
        having = {record.case for record in context.done if record.training.get("curves")}
        drawn = [name for name in names if name in having][: self.cases]
        curves: dict[str, list[dict[str, Any]]] = {}
        for record in context.done:
            if record.case in drawn:
                for name, rows in _curves(record.training, record.settings):
                    curves.setdefault(name, []).extend(
                        {**row, "case": record.case, "seed": record.seed} for row in rows
                    )
        if not curves:
            return None
        charts = {name: _chart(name, rows, drawn) for name, rows in curves.items()}
        left_out = len(having) - len(drawn)
        return Section.of("Training", template("training"), charts, names=list(charts), left_out=left_out)


def _curves(
    training: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and rows of each curve. Scores are taken every few epochs and in the last."""
    curves = training["curves"]
    recipe = settings.get("recipe", {})
    epochs = max((len(each) for each in curves.values() if isinstance(each, list)), default=0)
    every = max(1, int(recipe.get("evaluate_every", 1)))
    for name, values in curves.items():
        if not isinstance(values, list):
            continue
        places = range(1, epochs + 1) if len(values) == epochs else _evaluated(len(values), epochs, every)
        rows = [
            {"epoch": epoch, "value": value}
            for epoch, value in zip(places, values, strict=False)
            if isinstance(value, int | float)
        ]
        if rows:
            yield name, rows


def _evaluated(count: int, epochs: int, every: int) -> list[int]:
    places = [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]
    return places if len(places) == count else list(range(1, count + 1))


def _chart(name: str, rows: list[dict[str, Any]], cases: list[str]) -> Chart:
    spec = {
        "height": 220,
        "data": {"values": rows},
        "mark": {"type": "line", "point": {"size": 20}, "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}},
            "y": {"field": "value", "type": "quantitative", "title": name, "scale": {"zero": False}},
            "color": {
                "field": "case",
                "type": "nominal",
                "scale": {"domain": cases},
                "legend": {"orient": "bottom", "columns": 3, "title": None},
            },
            "detail": {"field": "seed"},
            "tooltip": [{"field": each} for each in ("case", "seed", "epoch", "value")],
        },
    }
    return Chart(spec, f"{name} over the epochs of training, a line for each case and seed.")

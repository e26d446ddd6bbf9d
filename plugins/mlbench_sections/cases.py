"""The table of all cases."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import CaseRow, PageContext, Section, SectionOptions
from mlbench_sections.quantities import MEASURES, figure_text, measure_text, range_text
from mlbench_sections.templates import template

__all__ = ["Cases"]

#: Columns that are shown at first besides the headline metrics.
_SHOWN = ("threshold", "bytes", "images_per_second", "latency_p50")


class Cases(SectionOptions):
    """A row for each case: means over its seeds, ± their standard deviation, and intervals. The reader sorts
    it, filters it by the name of the case, and chooses the columns."""

    place: ClassVar[int] = 200

    cells: Annotated[int, Field(ge=1)] = 10_000
    """Cells of the table; above, the last columns are left out, and then the last cases."""

    def build(self, context: PageContext) -> Section | None:
        rows = context.rows
        if not rows:
            return None
        has = {name for row in rows for name in row.figures}
        metrics = [name for name in context.metrics if name in has]
        measures = [name for name in MEASURES if name in has]
        first = [*context.headlines, *_SHOWN]
        names = [name for name in first if name in has]
        names += [name for name in (*metrics, *measures) if name not in names]
        kept = names[: max(len([name for name in first if name in has]), self.cells // len(rows) - 1)]
        most = max(1, self.cells // (len(kept) + 1))
        shown = _ordered(rows, context)[:most]
        heads = [_head(name, context, name in first) for name in kept]
        left_out = []
        if len(shown) < len(rows):
            left_out.append(f"{len(rows) - len(shown):,} of {len(rows):,} cases are not in this table")
        if len(kept) < len(names):
            left_out.append(
                f"{len(names) - len(kept)} further columns are left out; `mlbench results` has them"
            )
        return Section.of(
            "Cases",
            template("cases"),
            heads=heads,
            rows=[(row, [_cell(row, name) for name in kept]) for row in shown],
            chosen=context.choice.case,
            protocols=context.protocols,
            seeds=any(each.spread is not None for row in rows for each in row.figures.values()),
            left_out=left_out,
        )


def _ordered(rows: tuple[CaseRow, ...], context: PageContext) -> list[CaseRow]:
    """The best by the first headline metric first; those without it last, in their order."""
    name = next(iter(context.headlines), "")
    sign = -1 if context.higher_is_better(name) is not False else 1
    known = {row.name: row.value(name) for row in rows}
    return sorted(rows, key=lambda row: (known[row.name] is None, sign * (known[row.name] or 0)))


def _head(name: str, context: PageContext, shown: bool) -> dict[str, Any]:
    measured = MEASURES.get(name)
    heading = context.metrics[name] if measured is None else measured.heading
    better = context.higher_is_better(name) if measured is None else "per_second" in name
    return {"name": name, "heading": heading, "first": "falling" if better else "", "shown": shown}


def _cell(row: CaseRow, name: str) -> dict[str, Any]:
    figure = row.figures.get(name)
    if figure is None:
        return {"value": None, "text": "", "range": ""}
    if name in MEASURES:
        return {"value": figure.value, "text": measure_text(name, figure), "range": ""}
    few = f" ({figure.seeds} of {len(row.seeds)} seeds)" if figure.seeds < len(row.seeds) else ""
    return {"value": figure.value, "text": figure_text(figure) + few, "range": range_text(figure)}

"""The table of two models' embeddings of the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlbench.records.report import metric_text

if TYPE_CHECKING:
    from mlbench.evaluation.file_evaluation import FileEvaluation
    from mlbench.records.record import Estimate
    from mlbench.table import Table

__all__ = ["compatibility_table"]


def compatibility_table(found: FileEvaluation, title: str) -> Table:
    """A row for each metric: of new queries on the new gallery, of old on old, and of new on old with its
    interval."""
    from mlbench.table import Table

    headings = ("metric", *found.beside, "new to old", "its interval")
    rows = []
    for name, crossed in found.metrics.items():
        others = [each.metrics.get(name) for each in found.beside.values()]
        if not any(each is not None and each.value is not None for each in (*others, crossed)):
            continue
        rows.append([name, *map(_value, others), _value(crossed), _interval(crossed)])
    protocol = found.facts["protocol"]["text"]
    return Table(headings, rows, numbers=headings[1:-1], title=f"{title}\nprotocol: {protocol}", keep=5)


def _value(found: Estimate | None) -> str:
    return "–" if found is None or found.value is None else metric_text(found.value, 4)


def _interval(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return ""
    return "–".join(metric_text(each, 4, found.value) for each in (found.low, found.high))

"""Reports: records as a table for the terminal, Markdown, or JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlbench.record import Record
from mlbench.table import Table

__all__ = ["notes_of", "results_json", "results_markdown", "results_table"]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: heading, value of a record (None: not known), and how a value is written."""

    heading: str
    value: Callable[[Record], float | None]
    form: Callable[[float], str]


def _share(value: float) -> str:
    return f"{value:.3f}"


def _metric(name: str) -> Callable[[Record], float | None]:
    return lambda record: record.metrics[name].value if name in record.metrics else None


_COLUMNS = (
    _Column("Recall@1", _metric("recall_at_1"), _share),
    _Column("MAP@R", _metric("map_at_r"), _share),
    _Column("F1", _metric("f1"), _share),
    _Column("precision", _metric("precision"), _share),
    _Column("recall", _metric("recall"), _share),
    _Column("at distance", _metric("threshold"), _share),
    _Column("F1 optimistic", _metric("f1_optimistic"), _share),
    _Column("MB", lambda r: r.size["bytes"] / 1e6, lambda v: f"{v:.2f}"),
    _Column("images/s", lambda r: r.speed["images_per_second"], lambda v: f"{v:,.0f}"),
)

_BLANK = [""] * (len(_COLUMNS) - 1)
_HEADINGS = ("case", "seeds", *(column.heading for column in _COLUMNS))


def results_table(records: Sequence[Record], title: str) -> Table:
    """A table with a row a case: mean over its seeds, and ± their standard deviation."""
    return Table(_HEADINGS, _rows(records), numbers=_HEADINGS[1:], title=f"{title}{_spread(records)}")


def results_markdown(records: Sequence[Record], title: str) -> str:
    """The same table in Markdown."""
    rule = ["---", *["---:"] * (len(_HEADINGS) - 1)]
    lines = [f"### {title}{_spread(records)}", "", _markdown(_HEADINGS), _markdown(rule)]
    lines += [_markdown(row) for row in _rows(records)]
    lines += ["", *(f"- {note}" for note in notes_of(records))]
    return "\n".join(lines).rstrip() + "\n"


def results_json(records: Sequence[Record]) -> str:
    """A JSON list of whole records."""
    return json.dumps([record.plain() for record in records], indent=1, ensure_ascii=False)


def notes_of(records: Sequence[Record]) -> list[str]:
    """Errors and notes of the records, each said once, with the cases that it holds for."""
    cases: dict[str, list[str]] = {}
    for record in records:
        texts = (*record.notes, *([f"failed: {record.error}"] if record.error else []))
        for text in texts:
            cases.setdefault(text, []).append(f"{record.case} seed {record.seed}")
    everywhere = len(records)
    return [
        text if len(where) == everywhere else f"{', '.join(where[:3])}{' ...' * (len(where) > 3)}: {text}"
        for text, where in cases.items()
    ]


def _spread(records: Sequence[Record]) -> str:
    """What ± means, where it appears."""
    seeds = {record.seed for record in records}
    return " (mean ± standard deviation over seeds)" if len(seeds) > 1 else ""


def _rows(records: Sequence[Record]) -> list[list[str]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case, []).append(record)
    rows = []
    for case, group in groups.items():
        done = [record for record in group if record.status == "done"]
        seeds = str(len(done)) if len(done) == len(group) else f"{len(done)}/{len(group)}"
        cells = [_cell(column, done) for column in _COLUMNS] if done else ["failed", *_BLANK]
        rows.append([case, seeds, *cells])
    return rows


def _cell(column: _Column, records: Sequence[Record]) -> str:
    found = [column.value(record) for record in records]
    values = [value for value in found if value is not None]
    if not values:
        return "?"
    text = column.form(statistics.fmean(values))
    if len(values) > 1 and column.form is _share:
        text += f" ±{statistics.stdev(values):.3f}".replace("±0.", "±.")
    return text


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

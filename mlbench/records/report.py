"""Reports: records as a table for the terminal, Markdown, or JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlbench.records.record import Estimate, Record
from mlbench.table import Table

__all__ = [
    "assessment_json",
    "assessment_table",
    "notes_of",
    "results_json",
    "results_markdown",
    "results_table",
]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: heading, estimate of a record, how a value is written, and whether its spread over seeds
    and its interval are shown. optional: left out where no record has a value."""

    heading: str
    estimate: Callable[[Record], Estimate]
    form: Callable[[float], str]
    spread: bool = False
    interval: bool = False
    optional: bool = False


def _share(value: float) -> str:
    return f"{value:.3f}"


def _metric(name: str) -> Callable[[Record], Estimate]:
    return lambda record: record.metrics.get(name, Estimate(None))


def _timing(*names: str) -> Callable[[Record], Estimate]:
    """The first of these speeds or memory peaks that a record has."""

    def estimate(record: Record) -> Estimate:
        known = {**record.speed, **record.memory}
        return Estimate(next((known[name].value for name in names if name in known), None))

    return estimate


_COLUMNS = (
    _Column("accuracy (pair list)", _metric("pair_list_accuracy"), _share, spread=True, optional=True),
    _Column("Recall@1", _metric("recall_at_1"), _share, spread=True, interval=True),
    _Column("MAP@R", _metric("map_at_r"), _share, spread=True),
    _Column("F1", _metric("f1"), _share, spread=True, interval=True),
    _Column("precision", _metric("precision"), _share),
    _Column("recall", _metric("recall"), _share),
    _Column("at distance", _metric("threshold"), _share, spread=True),
    _Column("F1 optimistic", _metric("f1_optimistic"), _share),
    _Column("MB", lambda r: Estimate(r.size.get("bytes")), lambda v: f"{v / 1e6:.2f}"),
    _Column("peak MB", _timing("peak_cuda", "peak_host"), lambda v: f"{v / 1e6:,.0f}", optional=True),
    _Column("images/s", _timing("images_per_second"), lambda v: f"{v:,.0f}"),
    _Column("ms for one", _timing("latency_p50"), lambda v: f"{v:.1f}", optional=True),
    _Column("trained/s", _timing("training_images_per_second"), lambda v: f"{v:,.0f}", optional=True),
    _Column("ONNX/s", _timing("onnx_images_per_second"), lambda v: f"{v:,.0f}", optional=True),
)


def results_table(records: Sequence[Record], title: str) -> Table:
    """A table with a row a case: means over its seeds, ± their standard deviation, and intervals."""
    headings = _headings(records)
    return Table(headings, _rows(records), numbers=headings[1:], title=f"{title}{_spread(records)}")


def results_markdown(records: Sequence[Record], title: str) -> str:
    """The same table in Markdown."""
    headings = _headings(records)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    lines = [f"### {title}{_spread(records)}", "", _markdown(headings), _markdown(rule)]
    lines += [_markdown(row) for row in _rows(records)]
    lines += ["", *(f"- {note}" for note in notes_of(records))]
    return "\n".join(lines).rstrip() + "\n"


def results_json(records: Sequence[Record]) -> str:
    """A JSON list of whole records."""
    return json.dumps([record.plain() for record in records], indent=1, ensure_ascii=False)


def assessment_table(metrics: Mapping[str, Estimate], facts: Mapping[str, Any], title: str) -> Table:
    """A table with a row a metric: value, interval where it has one, unit."""
    level = facts.get("intervals", {}).get("level")
    headings = ("metric", "value", f"{100 * level:g}% interval" if level else "interval", "")
    rows = []
    for name, found in metrics.items():
        value = "–" if found.value is None else f"{found.value:.4f}"
        interval = "" if found.low is None or found.high is None else f"{found.low:.4f} – {found.high:.4f}"
        rows.append([name, value, interval, found.unit if found.value is not None else found.note])
    return Table(headings, rows, numbers=("value",), title=title)


def assessment_json(metrics: Mapping[str, Estimate], facts: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The same and everything else as JSON."""
    plain = {name: asdict(found) for name, found in metrics.items()}
    return json.dumps({"metrics": plain, "evaluation": facts, "notes": notes}, indent=1, ensure_ascii=False)


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
    """What ± and [ ] mean, where they appear."""
    told = ["mean ± standard deviation over seeds"] if len({record.seed for record in records}) > 1 else []
    levels = {r.evaluation["intervals"]["level"] for r in records if "intervals" in r.evaluation}
    told += [f"[{100 * level:g}% interval over classes]" for level in sorted(levels)]
    return f" ({'; '.join(told)})" if told else ""


def _columns(records: Sequence[Record]) -> tuple[_Column, ...]:
    return tuple(
        column
        for column in _COLUMNS
        if not column.optional or any(column.estimate(record).value is not None for record in records)
    )


def _headings(records: Sequence[Record]) -> list[str]:
    return ["case", "seeds", *(column.heading for column in _columns(records))]


def _rows(records: Sequence[Record]) -> list[list[str]]:
    columns = _columns(records)
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case, []).append(record)
    rows = []
    for case, group in groups.items():
        done = [record for record in group if record.status == "done"]
        seeds = str(len(done)) if len(done) == len(group) else f"{len(done)}/{len(group)}"
        blank = [""] * (len(columns) - 1)
        cells = [_cell(column, done) for column in columns] if done else ["failed", *blank]
        rows.append([case, seeds, *cells])
    return rows


def _cell(column: _Column, records: Sequence[Record]) -> str:
    found = [column.estimate(record) for record in records]
    values = [each.value for each in found if each.value is not None]
    if not values:
        return "?"
    text = column.form(statistics.fmean(values))
    if len(values) > 1 and column.spread:
        text += f" ±{_short(statistics.stdev(values))}"
    lows = [each.low for each in found if each.low is not None]
    highs = [each.high for each in found if each.high is not None]
    if column.interval and lows and highs:
        text += f" [{_short(statistics.fmean(lows))}–{_short(statistics.fmean(highs))}]"
    return text


def _short(value: float) -> str:
    """0.123 as ".123"."""
    return f"{value:.3f}".removeprefix("0")


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

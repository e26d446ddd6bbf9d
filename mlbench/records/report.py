"""Reports: records as a table for the terminal, Markdown, or JSON."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlbench.records.record import Estimate, Record
from mlbench.table import Table

__all__ = [
    "assessment_json",
    "assessment_table",
    "headline_metrics",
    "notes_of",
    "protocols_of",
    "remarks_of",
    "results_json",
    "results_markdown",
    "results_table",
]


@dataclass(frozen=True, slots=True)
class _Column:
    """One column. name: of the metric, speed or size. estimate: of a record. form: how a value is written.
    spread, interval: whether its spread over seeds and its interval are shown. optional: left out where no
    record has a value. headline: shown however narrow the terminal is. words: what else to say of a case's
    records."""

    name: str
    heading: str
    estimate: Callable[[Record], Estimate]
    form: Callable[[float], str]
    spread: bool = False
    interval: bool = False
    optional: bool = False
    headline: bool = False
    words: Callable[[Sequence[Record]], Sequence[str]] = lambda records: ()


def _share(value: float) -> str:
    return f"{value:.3f}"


def _metric(name: str, heading: str, **shown: Any) -> _Column:
    return _Column(name, heading, lambda record: record.metrics.get(name, Estimate(None)), _share, **shown)


def _measured(heading: str, *names: str, form: str = ",.0f", unit: float = 1, **shown: Any) -> _Column:
    """The first of these speeds or memory peaks that a record has."""

    def estimate(record: Record) -> Estimate:
        known = {**record.speed, **record.memory}
        return Estimate(next((known[name].value for name in names if name in known), None))

    return _Column(names[0], heading, estimate, lambda value: f"{value / unit:{form}}", **shown)


def _threshold_words(records: Sequence[Record]) -> list[str]:
    """Why not to rely on the threshold of a case, in a few words; the notes have the numbers."""
    words = ["seeds differ"] if _disagreement(records) else []
    return [*words, *dict.fromkeys(word for record in records for word in remarks_of(record.evaluation))]


def _disagreement(records: Sequence[Record]) -> str:
    """What to say where the thresholds of a case's seeds differ by more than their intervals allow."""
    known = {record.seed: record.metrics["threshold"] for record in records if "threshold" in record.metrics}
    lows = [each.low for each in known.values() if each.low is not None]
    highs = [each.high for each in known.values() if each.high is not None]
    if not lows or not highs or max(lows) <= min(highs):
        return ""
    values = sorted((each.value, seed) for seed, each in known.items() if each.value is not None)
    (least, first), (most, last) = values[0], values[-1]
    return (
        f"thresholds of the seeds differ by more than their intervals, from {least:.3f} (seed {first}) to "
        f"{most:.3f} (seed {last}); each belongs to the model of its seed, and their mean to none"
    )


def remarks_of(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Why not to rely on the threshold of an evaluation, a line each, by the words for a table."""
    threshold = evaluation.get("threshold") or {}
    return dict(threshold.get("remarks", {}))


def _size(record: Record) -> Estimate:
    return Estimate(record.size.get("bytes"))


#: In the order of what they tell of the question that most suites ask.
_COLUMNS = (
    _metric("pair_list_accuracy", "accuracy (pair list)", spread=True, optional=True, headline=True),
    _metric("recall_at_1", "Recall@1", spread=True, interval=True, headline=True),
    _metric("f1", "F1", spread=True, interval=True, headline=True),
    _Column("bytes", "MB", _size, lambda value: f"{value / 1e6:.2f}", headline=True),
    _measured("images/s", "images_per_second", headline=True, optional=True),
    _metric("threshold", "at distance", spread=True, interval=True, words=_threshold_words),
    _metric("map_at_r", "MAP@R", spread=True),
    _metric("precision", "precision"),
    _metric("recall", "recall"),
    _measured("ms for one", "latency_p50", form=".1f", optional=True),
    _metric("f1_optimistic", "F1 optimistic"),
    _measured("peak MB", "peak_cuda", "peak_host", unit=1e6, optional=True),
    _measured("trained/s", "training_images_per_second", optional=True),
    _measured("ONNX/s", "onnx_images_per_second", optional=True),
)


def results_table(records: Sequence[Record], title: str, watched: Collection[str] = ()) -> Table:
    """A table with a row a case: means over its seeds, ± their standard deviation, and intervals.

    watched: metrics that the suite states a tolerance for, which come first.
    """
    columns = _columns(records, watched)
    headings = _headings(records, columns)
    keep = len(headings) - len(columns) + sum(column.headline for column in columns)
    title = "\n".join([f"{title}{_spread(records)}", *protocols_of(records)])
    return Table(headings, _rows(records, columns), headings[1:], title, keep)


def results_markdown(
    records: Sequence[Record], title: str, watched: Collection[str] = (), sentences: Sequence[str] = ()
) -> str:
    """The same table in Markdown, with sentences and notes below."""
    columns = _columns(records, watched)
    headings = _headings(records, columns)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    lines = [f"### {title}{_spread(records)}", ""]
    lines += [line for protocol in protocols_of(records) for line in (protocol, "")]
    lines += [_markdown(headings), _markdown(rule)]
    lines += [_markdown(row) for row in _rows(records, columns)]
    lines += [line for sentence in sentences for line in ("", sentence)]
    lines += [""]
    lines += [f"- {note}" for note in notes_of(records)]
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
        words = [found.unit if found.value is not None else found.note]
        words += remarks_of(facts) if name == "threshold" else ()
        rows.append([name, value, interval, ", ".join(filter(None, words))])
    told = facts.get("protocol", {}).get("text")
    return Table(headings, rows, numbers=("value",), title=f"{title}\nprotocol: {told}" if told else title)


def assessment_json(metrics: Mapping[str, Estimate], facts: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The same and everything else as JSON."""
    plain = {name: asdict(found) for name, found in metrics.items()}
    return json.dumps({"metrics": plain, "evaluation": facts, "notes": notes}, indent=1, ensure_ascii=False)


def protocols_of(records: Sequence[Record]) -> list[str]:
    """A line for each protocol that the records were evaluated by, with its cases where there are several."""
    cases: dict[str, list[str]] = {}
    for record in records:
        if text := record.evaluation.get("protocol", {}).get("text"):
            cases.setdefault(text, []).append(record.case)
    if len(cases) == 1 and sum(map(len, cases.values())) == sum(each.status == "done" for each in records):
        return [f"protocol: {text}" for text in cases]
    return [f"protocol of {_some(dict.fromkeys(names))}: {text}" for text, names in cases.items()]


def notes_of(records: Sequence[Record]) -> list[str]:
    """Errors and notes of the records, each said once, with the cases that it holds for; then of which cases
    the seeds disagree."""
    cases: dict[str, list[str]] = {}
    for record in records:
        texts = (*record.notes, *([f"failed: {record.error}"] if record.error else []))
        for text in dict.fromkeys(texts):
            cases.setdefault(text, []).append(f"{record.case} seed {record.seed}")
    everywhere = len(records)
    notes = [text if len(where) == everywhere else f"{_some(where)}: {text}" for text, where in cases.items()]
    for case in dict.fromkeys(record.case for record in records):
        if text := _disagreement([record for record in records if record.case == case]):
            notes.append(f"{case}: {text}")
    return notes


def _some(names: Iterable[str]) -> str:
    """The first three names."""
    known = list(names)
    return f"{', '.join(known[:3])}{' ...' * (len(known) > 3)}"


def headline_metrics(records: Sequence[Record], watched: Collection[str] = ()) -> dict[str, str]:
    """Headings of the metrics that answer the suite's question, by name, the first first."""
    columns = [column for column in _columns(records, watched) if column.headline]
    return {each.name: each.heading for each in columns if any(each.name in r.metrics for r in records)}


def _spread(records: Sequence[Record]) -> str:
    """What ± and [ ] mean, where they appear."""
    seeds = _same_seeds(records)
    told = ["1 seed"] if seeds == 1 else []
    if len({record.seed for record in records}) > 1 and seeds != 1:
        told.append(f"mean ± standard deviation over {f'{seeds} ' if seeds else ''}seeds")
    levels = {r.evaluation["intervals"]["level"] for r in records if "intervals" in r.evaluation}
    told += [f"[{100 * level:g}% interval over classes]" for level in sorted(levels)]
    return f" ({'; '.join(told)})" if told else ""


def _same_seeds(records: Sequence[Record]) -> int:
    """How many seeds every case has finished; 0 where they are not as many, or one failed."""
    counts = Counter(record.case for record in records)
    done = Counter(record.case for record in records if record.status == "done")
    return counts.most_common(1)[0][1] if counts == done and len(set(counts.values())) == 1 else 0


def _columns(records: Sequence[Record], watched: Collection[str]) -> list[_Column]:
    """Those of the suite's question first, then the others that some record has a value for."""
    known = {column.name: column for column in _COLUMNS}
    measured = {name for record in records for name in record.metrics}
    first = [
        replace(known.get(name, _metric(name, name, spread=True, interval=True)), headline=True)
        for name in watched
        if name in measured
    ]
    names = {column.name for column in first}
    # The suite has said which metrics it asks about; the others stand back.
    rest = [
        replace(column, headline=column.headline and not (first and column.name in measured))
        for column in _COLUMNS
        if column.name not in names
    ]
    ordered = sorted((*first, *rest), key=lambda column: not column.headline)
    return [
        column
        for column in ordered
        if not column.optional or any(column.estimate(record).value is not None for record in records)
    ]


def _headings(records: Sequence[Record], columns: Sequence[_Column]) -> list[str]:
    seeds = [] if _same_seeds(records) else ["seeds"]
    return ["case", *seeds, *(column.heading for column in columns)]


def _rows(records: Sequence[Record], columns: Sequence[_Column]) -> list[list[str]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case, []).append(record)
    same = _same_seeds(records)
    rows = []
    for case, group in groups.items():
        done = [record for record in group if record.status == "done"]
        count = str(len(done)) if len(done) == len(group) else f"{len(done)}/{len(group)}"
        blank = [""] * (len(columns) - 1)
        cells = [_cell(column, done) for column in columns] if done else ["failed", *blank]
        rows.append([case, *([] if same else [count]), *cells])
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
    words = [*column.words(records)]
    if len(values) < len(records) and any(column.name in record.metrics for record in records):
        words.insert(0, f"{len(values)} of {len(records)} seeds")
    return f"{text} ({', '.join(words)})" if words else text


def _short(value: float) -> str:
    """0.123 as ".123"."""
    return f"{value:.3f}".removeprefix("0")


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

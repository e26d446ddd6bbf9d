"""Reports: records as a table for the terminal, as Markdown, or as JSON.

Columns of metrics come from the records: each has the heading that its metric announced.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlbench.errors import first_few
from mlbench.records.record import PAIR_LIST, THRESHOLD, Estimate, Record
from mlbench.records.widths import at_width, cut_record, widths_of
from mlbench.table import Table

__all__ = [
    "DISTURBED_MARK",
    "assessment_json",
    "assessment_table",
    "headline_metrics",
    "metric_headings",
    "metric_text",
    "notes_of",
    "protocols_of",
    "remarks_of",
    "results_json",
    "results_markdown",
    "results_table",
]


#: Mark of a speed that was measured on a disturbed machine.
DISTURBED_MARK = "~"


@dataclass(frozen=True, slots=True)
class _Column:
    """One column. estimate: of a record. form: text of a value. spread, interval: whether the spread over
    seeds and the interval are shown. headline: printed on the narrowest terminal too. words: remarks on a
    case's records, in a few words each. mark: before the value, where any of the records has it."""

    name: str
    heading: str
    estimate: Callable[[Record], Estimate]
    form: Callable[[float], str]
    spread: bool = False
    interval: bool = False
    headline: bool = False
    words: Callable[[Sequence[Record]], Sequence[str]] = lambda records: ()
    mark: Callable[[Record], str] = lambda record: ""


def metric_text(value: float, decimals: int = 3, like: float | None = None) -> str:
    """The value of a metric for a table: "0.912", "1.2e-05", "12,345.7".

    like: a value whose form it takes, as the spread of a mean that of the mean; None for its own."""
    size = abs(value if like is None else like)
    tiny = 0 < size < 0.5 * 10**-decimals
    return f"{value:.1e}" if tiny else f"{value:.{decimals}f}" if size < 1000 else f"{value:,.1f}"


def _metric(name: str, announced: Estimate, *, headline: bool) -> _Column:
    known = name == THRESHOLD
    return _Column(
        name,
        announced.heading or name,
        lambda record: record.metrics.get(name, Estimate(None)),
        metric_text,
        spread=True,
        # The intervals of a list of pairs are over folds; the title describes intervals over classes.
        interval=(headline or known) and not name.startswith(PAIR_LIST),
        headline=headline,
        words=_threshold_words if known else lambda records: (),
    )


def _measured(
    heading: str, *names: str, form: str = ",.0f", unit: float = 1, headline: bool = False
) -> _Column:
    """The first of these speeds, memory peaks or sizes that a record has."""

    def estimate(record: Record) -> Estimate:
        known = {**record.speed, **record.memory}
        value = next((known[name].value for name in names if name in known), None)
        return Estimate(record.size.get(names[0]) if value is None else value)

    def mark(record: Record) -> str:
        return DISTURBED_MARK if any(record.is_disturbed(name) for name in names) else ""

    return _Column(
        names[0], heading, estimate, lambda value: f"{value / unit:{form}}", headline=headline, mark=mark
    )


def _threshold_words(records: Sequence[Record]) -> list[str]:
    """Reasons not to rely on the threshold of a case, in a few words; the notes have the numbers."""
    words = ["seeds differ"] if _disagreement(records) else []
    return [*words, *dict.fromkeys(word for record in records for word in remarks_of(record.evaluation))]


def _disagreement(records: Sequence[Record]) -> str:
    """A note for a case whose seeds have thresholds that differ by more than their intervals, else ""."""
    known = {record.seed: record.metrics[THRESHOLD] for record in records if THRESHOLD in record.metrics}
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
    """Reasons not to rely on the threshold of an evaluation, one line each, by the words for a table."""
    threshold = evaluation.get("threshold") or {}
    return dict(threshold.get("remarks", {}))


#: Columns of sizes, speeds and memory. All but the first are left out where no record has a value; the first
#: shows "failed" in a table of failed cases.
_MEASURED_COLUMNS = (
    _measured("MB", "bytes", form=".2f", unit=1e6, headline=True),
    _measured("images/s", "images_per_second", headline=True),
    _measured("ms for one", "latency_p50", form=".1f"),
    _measured("peak MB", "peak_cuda", "peak_cpu", "peak_host", unit=1e6),
    _measured("trained/s", "training_images_per_second"),
    _measured("ONNX/s", "onnx_images_per_second"),
)


def results_table(records: Sequence[Record], title: str, watched: Collection[str] = ()) -> Table:
    """A table with one row per case, and below it one for each nested width: means over its seeds, ± their
    standard deviation, and intervals.

    watched: metrics for which the suite states a tolerance; they come first.
    """
    columns = _columns(records, watched)
    headings = _headings(records, columns)
    keep = len(headings) - len(columns) + sum(column.headline for column in columns)
    title = "\n".join([f"{title}{_spread(records)}", *protocols_of(records)])
    return Table(headings, _rows(records, columns), headings[1:], title, keep)


def results_markdown(
    records: Sequence[Record], title: str, watched: Collection[str] = (), sentences: Sequence[str] = ()
) -> str:
    """The table of `results_table` in Markdown, with sentences and notes below."""
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
    """A table with one row per metric: value, interval where it has one, unit."""
    level = facts.get("intervals", {}).get("level")
    headings = ("metric", "value", f"{100 * level:g}% interval" if level else "interval", "")
    rows = []
    for name, found in metrics.items():
        value = "–" if found.value is None else metric_text(found.value, 4)
        interval = ""
        if found.low is not None and found.high is not None:
            ends = (metric_text(each, 4, found.value) for each in (found.low, found.high))
            interval = " – ".join(ends)
        words = [found.unit if found.value is not None else found.note]
        words += remarks_of(facts) if name == THRESHOLD else ()
        rows.append([name, value, interval, ", ".join(filter(None, words))])
    told = facts.get("protocol", {}).get("text")
    return Table(headings, rows, numbers=("value",), title=f"{title}\nprotocol: {told}" if told else title)


def assessment_json(metrics: Mapping[str, Estimate], facts: Mapping[str, Any], notes: Sequence[str]) -> str:
    """An assessment as JSON."""
    plain = {name: asdict(found) for name, found in metrics.items()}
    return json.dumps({"metrics": plain, "evaluation": facts, "notes": notes}, indent=1, ensure_ascii=False)


def protocols_of(records: Sequence[Record]) -> list[str]:
    """One line for each protocol of the records, with its cases where there are several protocols."""
    cases: dict[str, list[str]] = {}
    for record in records:
        if text := record.evaluation.get("protocol", {}).get("text"):
            cases.setdefault(text, []).append(record.case)
    if len(cases) == 1 and sum(map(len, cases.values())) == sum(each.status == "done" for each in records):
        return [f"protocol: {text}" for text in cases]
    return [
        f"protocol of {first_few(list(dict.fromkeys(names)), 3)}: {text}" for text, names in cases.items()
    ]


def notes_of(records: Sequence[Record], *, errors: bool = True) -> list[str]:
    """Notes and `errors` of the records, each once, with the cases that it holds for; then the cases whose
    seeds have different thresholds."""
    cases: dict[str, list[str]] = {}
    for record in records:
        texts = (*record.notes, *([f"failed: {record.error}"] if errors and record.error else []))
        for text in dict.fromkeys(texts):
            cases.setdefault(text, []).append(f"{record.case} seed {record.seed}")
    everywhere = len(records)
    notes = [
        text if len(where) == everywhere else f"{first_few(where, 3)}: {text}"
        for text, where in cases.items()
    ]
    if disturbed := [each.heading for each in _MEASURED_COLUMNS if any(map(each.mark, records))]:
        notes.append(
            f"{DISTURBED_MARK} {', '.join(disturbed)}: other work slowed the machine meanwhile; "
            "run --measure-again measures again"
        )
    for case in dict.fromkeys(record.case for record in records):
        group = [record for record in records if record.case == case]
        for label, each in ((case, group), *((f"{case} at {name}", cut) for name, cut in _cut(group))):
            if text := _disagreement(each):
                notes.append(f"{label}: {text}")
    return notes


def headline_metrics(records: Sequence[Record], watched: Collection[str] = ()) -> dict[str, str]:
    """Headings of the headline metrics of a table, by name, in its order."""
    columns = _columns(records, watched)
    names = {name for record in records for name in record.metrics}
    return {each.name: each.heading for each in columns if each.headline and each.name in names}


def metric_headings(records: Sequence[Record], watched: Collection[str] = ()) -> dict[str, str]:
    """Headings of all metrics of records, by name: those of the table's columns in its order, then the others
    under their names."""
    names = dict.fromkeys(name for record in records for name in record.metrics)
    headings = {each.name: each.heading for each in _columns(records, watched) if each.name in names}
    return {**headings, **{name: name for name in names if name not in headings}}


def _spread(records: Sequence[Record]) -> str:
    """The meaning of ± and [ ] where they appear."""
    seeds = _same_seeds(records)
    told = ["1 seed"] if seeds == 1 else []
    if len({record.seed for record in records}) > 1 and seeds != 1:
        told.append(f"mean ± standard deviation over {f'{seeds} ' if seeds else ''}seeds")
    levels = {r.evaluation["intervals"]["level"] for r in records if "intervals" in r.evaluation} - {None}
    told += [f"[{100 * level:g}% interval over classes]" for level in sorted(levels)]
    return f" ({'; '.join(told)})" if told else ""


def _same_seeds(records: Sequence[Record]) -> int:
    """Number of seeds that every case has finished; 0 where cases differ in it, or one failed."""
    counts = Counter(record.case for record in records)
    done = Counter(record.case for record in records if record.status == "done")
    return counts.most_common(1)[0][1] if counts == done and len(set(counts.values())) == 1 else 0


def _columns(records: Sequence[Record], watched: Collection[str]) -> list[_Column]:
    """Headlines first, then the other columns; in each part the metrics in the order of the records, then
    what mlbench itself measures. Metrics that the suite watches come first and are the only headlines."""
    announced: dict[str, Estimate] = {}
    for record in records:
        for name, each in record.metrics.items():
            announced.setdefault(name, each)
    # Nested widths have rows of their own, and no columns.
    whole = {
        at_width(name, width): name
        for record in records
        for width in widths_of(record)[:-1]
        for name in record.metrics
    }
    asked = list(dict.fromkeys(whole.get(name, name) for name in watched if name in announced))
    metrics = [_metric(name, announced[name], headline=True) for name in asked]
    metrics += [
        _metric(name, each, headline=each.headline and not asked)
        for name, each in announced.items()
        if name not in asked and (each.heading or each.headline)
    ]
    counts = Counter(column.heading for column in metrics)
    metrics = [replace(each, heading=each.name) if counts[each.heading] > 1 else each for each in metrics]
    first, *rest = _MEASURED_COLUMNS
    known = [each for each in rest if any(each.estimate(record).value is not None for record in records)]
    return sorted((*metrics, first, *known), key=lambda column: not column.headline)


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
        for name, cut in _cut(done):
            cells = [_cell(each, cut) if _has_metric(cut, each.name) else "" for each in columns]
            rows.append([f"  {name}", *([] if same else [""]), *cells])
    return rows


def _cut(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """The records of a case at each nested width, the largest first, with its name in a table."""
    for width in sorted({width for each in records for width in widths_of(each)[:-1]}, reverse=True):
        yield f"width {width}", [cut_record(each, width) for each in records]


def _has_metric(records: Sequence[Record], name: str) -> bool:
    return any(name in record.metrics for record in records)


def _cell(column: _Column, records: Sequence[Record]) -> str:
    found = [column.estimate(record) for record in records]
    values = [each.value for each in found if each.value is not None]
    if not values:
        words = column.words(records)
        return f"? ({', '.join(words)})" if words else "?"
    mean = statistics.fmean(values)
    text = f"{max(map(column.mark, records))}{column.form(mean)}"
    if len(values) > 1 and column.spread:
        text += f" ±{_short(statistics.stdev(values), mean)}"
    lows = [each.low for each in found if each.low is not None]
    highs = [each.high for each in found if each.high is not None]
    if column.interval and lows and highs:
        text += f" [{_short(statistics.fmean(lows), mean)}–{_short(statistics.fmean(highs), mean)}]"
    words = [*column.words(records)]
    if len(values) < len(records) and any(column.name in record.metrics for record in records):
        words.insert(0, f"{len(values)} of {len(records)} seeds")
    return f"{text} ({', '.join(words)})" if words else text


def _short(value: float, mean: float) -> str:
    """0.123 as ".123", in the form of the mean of its cell."""
    return metric_text(value, like=mean).removeprefix("0")


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

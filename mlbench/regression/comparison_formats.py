"""Output formats of comparisons: table, Markdown, JSON, GitHub annotations, JUnit XML."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from xml.etree import ElementTree

from mlbench.errors import first_few
from mlbench.records.report import metric_text
from mlbench.regression.change import Change, Verdict
from mlbench.regression.comparison import Comparison, Missing
from mlbench.table import Table

__all__ = [
    "change_row",
    "comparison_github",
    "comparison_json",
    "comparison_junit",
    "comparison_markdown",
    "comparison_notes",
    "comparison_table",
    "missing_sentences",
    "summary",
]

_HEADINGS = ("case", "quantity", "before", "after", "difference", "interval", "tolerance", "verdict")
_NUMBERS = _HEADINGS[2:7]


def comparison_table(comparison: Comparison, title: str, *, gated: bool = False) -> Table:
    """A table with one row per case and quantity. gated: only quantities that can fail a check."""
    return Table(
        _HEADINGS, [change_row(each) for each in _shown(comparison, gated)], numbers=_NUMBERS, title=title
    )


def comparison_markdown(comparison: Comparison, title: str, *, gated: bool = False) -> str:
    """The table in Markdown, with the summary above it and the notes below."""
    rule = ["---:" if heading in _NUMBERS else "---" for heading in _HEADINGS]
    rows = [change_row(each) for each in _shown(comparison, gated)]
    lines = [f"### {title}", "", summary(comparison), ""]
    lines += [f"| {' | '.join(_escaped(row))} |" for row in (_HEADINGS, rule, *rows)]
    lines += ["", *(f"- {note}" for note in comparison_notes(comparison, gated=gated))]
    return "\n".join(lines).rstrip() + "\n"


def comparison_json(comparison: Comparison) -> str:
    """All changes and missing quantities as JSON."""
    data = {
        "regressions": len(comparison.regressions),
        "changes": [{**asdict(each), "relative": each.relative} for each in comparison.changes],
        "missing": [asdict(each) for each in comparison.missing],
        "notes": comparison.notes,
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def comparison_github(comparison: Comparison, title: str) -> str:
    """Workflow commands that GitHub Actions shows as annotations: errors for regressions, warnings for gated
    quantities without a decision."""
    lines = [_annotation("error", title, _sentence(each)) for each in comparison.regressions]
    lines += [_annotation("warning", title, _sentence(each)) for each in _undecided(comparison)]
    return "\n".join([*lines, _annotation("notice", title, summary(comparison))])


def comparison_junit(comparison: Comparison, suite: str) -> str:
    """JUnit XML with one test per gated quantity: failed if it is worse or missing, skipped if there are too
    few samples or it is not comparable."""
    watched: list[Change | Missing] = [each for each in comparison.changes if each.gated]
    watched += [each for each in comparison.missing if each.gated and each.side == "after"]
    failed, undecided = comparison.regressions, _undecided(comparison)
    root = ElementTree.Element(
        "testsuite",
        name=f"mlbench {suite}",
        tests=str(len(watched)),
        failures=str(len(failed)),
        errors="0",
        skipped=str(len(undecided)),
    )
    for each in watched:
        test = ElementTree.SubElement(
            root, "testcase", classname=f"{suite}.{each.case}", name=each.name or "case"
        )
        kind = "failure" if each in failed else "skipped" if each in undecided else ""
        if kind:
            ElementTree.SubElement(test, kind, message=_sentence(each))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def comparison_notes(comparison: Comparison, *, gated: bool = False) -> list[str]:
    """Notes on missing quantities, on undecided changes and on the comparison, each once."""
    by_note: dict[str, list[str]] = {}
    for change in _shown(comparison, gated):
        if change.note:
            by_note.setdefault(change.note, []).append(f"{change.case} {change.name}")
    notes = [f"{first_few(where, 3)}: {note}" for note, where in by_note.items()]
    lost: dict[str, list[str]] = {}
    for each in comparison.missing:
        if each.gated or not gated:
            lost.setdefault(f"missing {each.side}: {each.reason}", []).append(
                f"{each.case} {each.name}".strip()
            )
    found = [*(f"{first_few(where, 3)}: {note}" for note, where in lost.items()), *notes, *comparison.notes]
    return [_line(note) for note in found]


def missing_sentences(comparison: Comparison) -> list[str]:
    """Gated quantities that are missing, one line each; the table has no row for them."""
    return [_sentence(each) for each in comparison.regressions if isinstance(each, Missing)]


def summary(comparison: Comparison) -> str:
    """One line with the numbers of regressions and of verdicts on gated quantities."""
    gated = [each for each in comparison.changes if each.gated]
    counts = Counter(each.verdict for each in gated if each.verdict is not None)
    verdicts = ", ".join(f"{counts[verdict]} {_named(verdict)}" for verdict in Verdict if counts[verdict])
    lost = sum(isinstance(each, Missing) for each in comparison.regressions)
    parts = [*([verdicts] if verdicts else []), *([f"{lost} missing"] if lost else [])]
    count = len(comparison.regressions)
    head = "no regression" if not count else "1 regression" if count == 1 else f"{count} regressions"
    return f"{head} ({'; '.join(parts) or 'nothing is gated'})"


def _shown(comparison: Comparison, gated: bool) -> Sequence[Change]:
    return [each for each in comparison.changes if each.gated or not gated]


def _undecided(comparison: Comparison) -> list[Change]:
    open_ = (Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE)
    return [each for each in comparison.changes if each.gated and each.verdict in open_]


def change_row(change: Change) -> list[str]:
    """The cells of a change in the table of `comparison_table`."""
    interval = ""
    if change.low is not None and change.high is not None:
        interval = f"{_difference(change, change.low)} – {_difference(change, change.high)}"
    tolerance = f"{100 * change.tolerance:.3g}%" if change.relative else f"{change.tolerance:g}"
    return [
        _line(change.case),
        change.name,
        _value(change, change.before),
        _value(change, change.after),
        "" if change.difference is None else _difference(change, change.difference),
        interval,
        tolerance if change.tolerance else "",
        "–" if change.verdict is None else _named(change.verdict),
    ]


def _named(verdict: Verdict) -> str:
    return "too few samples" if verdict is Verdict.INCONCLUSIVE else verdict.value


def _value(change: Change, value: float) -> str:
    if change.group == "metrics":
        return metric_text(value, 4)
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def _difference(change: Change, value: float) -> str:
    if change.relative:
        return f"{value:+.1%}"
    return f"{'-' if value < 0 else '+'}{metric_text(abs(value), 4, like=change.before)}"


def _sentence(each: Change | Missing) -> str:
    if isinstance(each, Missing):
        return _line(f"{each.case} {each.name}".strip() + f": missing ({each.reason})")
    cells = change_row(each)
    text = f"{each.case} {each.name}: {cells[7]}, {cells[2]} before, {cells[3]} after"
    if cells[4]:
        text += f", {cells[4]}" + (f" [{cells[5]}]" if cells[5] else "")
    text += f"; tolerance {cells[6] or '0'}"
    return _line(text + (f"; {each.note}" if each.note else ""))


def _line(text: str) -> str:
    """The text in one line without control characters, which XML forbids and terminals execute."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def _annotation(level: str, title: str, message: str) -> str:
    """A workflow command; GitHub requires escaped percent signs, and in titles colons and commas too."""
    message, title = (_line(text).replace("%", "%25") for text in (message, title))
    for character in ":,":
        title = title.replace(character, f"%{ord(character):02X}")
    return f"::{level} title={title}::{message}"


def _escaped(cells: Iterable[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]

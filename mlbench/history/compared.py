"""The page of a comparison: what got worse and better between two sets of records, what differs in their
settings, and which queries changed sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.contracts import Chart, Part, Section
from mlbench.errors import StoreError, first_few, hint
from mlbench.history.changed import CaseChanges, changes_of_cases, gallery_rows
from mlbench.history.differences import Difference, differences
from mlbench.history.runs import Run, moment
from mlbench.history.templates import template
from mlbench.history.texts import counted
from mlbench.page.images import Images
from mlbench.page.report import ReportRequest
from mlbench.page.writer import PageWriter
from mlbench.records.record import Record
from mlbench.records.report import headline_metrics
from mlbench.registry import Registry
from mlbench.regression.change import Change, Verdict
from mlbench.regression.comparison import Comparison, compare
from mlbench.regression.comparison_formats import change_row, comparison_notes, missing_sentences, summary
from mlbench.regression.record_set import RecordSet, load_record_set

__all__ = ["compared_report", "comparison_page"]

#: Cases by what differs in their settings and conditions.
_Groups = dict[tuple[Difference, ...], list[str]]

#: Level of the intervals.
_LEVEL = 0.95

#: Queries of a case in either direction that are shown, and those without a click.
_QUERIES, _FIRST = 24, 6

#: Cases that a line lists one by one.
_FEW = 4

#: Cases whose queries are shown: those with the most changed ones.
_CASES = 12


def compared_report(
    before: str,
    after: str,
    request: ReportRequest,
    registry: Callable[[], Registry],
    note: Callable[[str], None],
) -> Path:
    """Write the page about two sets of records (see `load_record_set`), by default beside those of `after`,
    and return its path. note: takes what the page lacks, one line each. Raises StoreError where records are
    missing, no case matches, or the page cannot be written."""
    sides = [load_record_set(text, request.results, registry, request.plan.size) for text in (before, after)]
    for remark in dict.fromkeys(remark for side in sides for remark in side.remarks):
        note(remark)
    folder = sides[1].store.folder if sides[1].store is not None else Path()
    path = request.output or folder / "comparison.html"
    text = comparison_page(sides[0], sides[1], registry(), note, pattern=request.case, images=request.images)
    write_atomically(path, text.encode(), advice="name another file with -o")
    return path


def comparison_page(
    old: RecordSet,
    new: RecordSet,
    registry: Registry,
    note: Callable[[str], None],
    *,
    pattern: str = "",
    images: bool = True,
) -> str:
    """The page as HTML. pattern: glob pattern of the cases whose queries are shown, "" for all. images:
    whether it may have small copies of images. Raises StoreError where no case matches."""
    tolerances = next((side.tolerances for side in (new, old) if side.tolerances is not None), {})
    found = compare(old.records, new.records, tolerances, lacking=(old.lacking, new.lacking), level=_LEVEL)
    headlines = headline_metrics([*old.records, *new.records], tolerances)
    names = list(dict.fromkeys(record.case for record in (*new.records, *old.records)))
    cases = [name for name in names if not pattern or fnmatchcase(name, pattern)]
    if not cases:
        raise StoreError(f"--case {pattern}: no case matches ({hint(pattern, names)})")
    queries = changes_of_cases(old, new, cases, next(iter(headlines), ""), registry, note)
    shown = [each for each in queries if each.shown is not None]
    shown = sorted(shown, key=lambda each: -_most_changed(each))[:_CASES]
    pictures = Images(shown=images)
    page = PageWriter(
        f"{old.name} → {new.name}",
        cases=[each.case for each in shown],
        images=pictures,
        kind="mlbench report --compare",
    )
    groups = _differing(old.records, new.records)
    page.add("verdict", _verdict_section(found, headlines, shown, groups))
    page.add("queries", _query_section(queries, shown, pictures))
    page.add("differences", _difference_section(groups))
    page.add("changes", _change_section(found))
    return page.html()


def _verdict_section(
    found: Comparison, headlines: dict[str, str], shown: Sequence[CaseChanges], groups: _Groups
) -> Section:
    """shown: the cases whose queries are shown. groups: see `_differing`."""
    worse = [each for each in found.changes if each.verdict is Verdict.WORSE]
    better = [each for each in found.changes if each.verdict is Verdict.BETTER]
    open_ = (Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE)
    undecided = sum(each.verdict in open_ for each in found.changes)
    charts = {
        name: _forest(name, heading, [each for each in found.changes if each.name == name])
        for name, heading in headlines.items()
        if any(each.name == name and each.difference is not None for each in found.changes)
    }
    values = {
        "take": f"{len(worse)} worse, {len(better)} better, {undecided} undecided "
        f"of {counted(len(found.changes), 'compared value')}",
        "lines": [
            *(line for name, heading in headlines.items() if (line := _tally(found, name, heading))),
            *_query_lines(shown),
            *_setting_lines(groups),
            f"Watched by a check: {summary(found)}. Intervals: {100 * _LEVEL:g} %.",
        ],
        "missing": missing_sentences(found),
        "notes": found.notes,
        "worse": [_cells(each) for each in _watched_first(worse)],
        "better": [_cells(each) for each in _watched_first(better)],
        "charts": [(name, headlines[name]) for name in charts],
    }
    return Section("What changed", (Part(template("verdict"), values, charts),))


def _tally(found: Comparison, name: str, heading: str) -> str:
    """One quantity in a line: of few cases the values, else the numbers of verdicts; "" for none."""
    changes = [each for each in found.changes if each.name == name]
    if len(changes) > _FEW:
        counts = Counter(change_row(each)[-1] for each in changes)
        return f"{heading}: {', '.join(f'{count} {word}' for word, count in counts.items())}"
    texts = []
    for each in changes:
        cells = _cells(each)
        texts.append(f"{each.case} {cells['before']} → {cells['after']} ({cells['verdict']})")
    return f"{heading}: {', '.join(texts)}" if texts else ""


def _query_lines(shown: Sequence[CaseChanges]) -> Iterator[str]:
    """The numbers of changed queries of the seeds that are shown, in one line."""
    texts = []
    for each in shown[:_FEW]:
        if each.shown is not None and each.after is not None:
            wrong, right, compared = each.shown
            counts = f"{len(wrong):,} wrong now, {len(right):,} right now of {compared:,}"
            texts.append(f"{each.case} {counts} (seed {each.after.record.seed})")
    if texts:
        yield f"Queries: {'; '.join(texts)}"


def _query_section(queries: Sequence[CaseChanges], shown: Sequence[CaseChanges], images: Images) -> Section:
    rows = [
        {
            "case": each.case,
            "seed": seed,
            "wrong": len(changed.became_wrong),
            "right": len(changed.became_right),
            "compared": changed.compared,
        }
        for each in queries
        for seed, changed in each.seeds.items()
    ]
    reasons: dict[str, list[str]] = {}
    for each in queries:
        if not each.seeds and each.why:
            reasons.setdefault(each.why, []).append(each.case)
    overview = {"rows": rows, "reasons": [(", ".join(names), why) for why, names in reasons.items()]}
    parts = [Part(template("changed"), overview)]
    parts += [_gallery(each, images) for each in shown]
    return Section("Queries that changed sides", tuple(parts))


def _gallery(each: CaseChanges, images: Images) -> Part:
    before, after, changed = each.before, each.after, each.shown
    assert before is not None
    assert after is not None
    assert changed is not None
    values = {
        "case": each.case,
        "seed": after.record.seed,
        "wrong": len(changed.became_wrong),
        "right": len(changed.became_right),
        "first": _FIRST,
        "now_wrong": gallery_rows(images, changed.became_wrong.tolist(), after, before, _QUERIES),
        "now_right": gallery_rows(images, changed.became_right.tolist(), before, after, _QUERIES),
        "why": after.why and before.why,
    }
    return Part(template("changed_case"), values, case=each.case)


def _differing(old: Sequence[Record], new: Sequence[Record]) -> _Groups:
    """What differs in the settings and conditions of each case; cases with the same differences together."""
    groups: _Groups = {}
    for case in dict.fromkeys(record.case for record in new):
        sides = [sorted((each for each in side if each.case == case), key=_finished) for side in (old, new)]
        if all(sides):
            found = differences(*(Run((side[-1],)) for side in sides))
            groups.setdefault(found, []).append(case)
    return groups


def _setting_lines(groups: _Groups) -> Iterator[str]:
    """The settings that differ, in one line."""
    settings = {tuple(each for each in causes if each.part == "setting") for causes in groups}
    if len(settings) > 1:
        yield "Settings: they differ by case; see What differs"
    elif settings and (changed := next(iter(settings))):
        texts = [f"{each.name} {each.before} → {each.after}" for each in changed]
        yield f"Settings: {first_few(texts, _FEW)}"


def _difference_section(groups: _Groups) -> Section:
    rows = [
        {"cases": names, "all": len(groups) == 1, "causes": [asdict(each) for each in causes]}
        for causes, names in groups.items()
    ]
    return Section("What differs", (Part(template("differing"), {"groups": rows}),))


def _change_section(found: Comparison) -> Section:
    values = {
        "rows": [_cells(each) for each in found.changes],
        "notes": comparison_notes(found),
    }
    return Section("All quantities", (Part(template("all_changes"), values),))


def _forest(name: str, heading: str, changes: Sequence[Change]) -> Chart:
    """Differences of one quantity with their intervals, a row for each case."""
    rows: list[dict[str, Any]] = []
    for change in changes:
        if change.difference is None:
            continue
        cells = _cells(change)
        row = {"case": change.case, "d": change.difference, "text": cells["difference"]}
        row |= {"interval": cells["interval"] or "–", "verdict": cells["verdict"]}
        row["colour"] = {"worse": "var(--bad)", "better": "var(--good)"}.get(cells["class"], "var(--soft)")
        if change.low is not None and change.high is not None:
            row |= {"l": change.low, "h": change.high}
        rows.append(row)
    y = {"field": "case", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 240}}
    axis = {"format": "+.1%"} if changes[0].relative else {"format": "+.3~f"}
    x = {"type": "quantitative", "title": f"difference in {heading}", "axis": axis}
    colour = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    told = [
        {"field": field, "type": "nominal", "title": field if field != "text" else "difference"}
        for field in ("case", "text", "interval", "verdict")
    ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "color": "var(--soft)", "strokeDash": [2, 2]},
            "encoding": {"x": {"datum": 0}},
        }
    ]
    if any("l" in row for row in rows):
        layers.append(
            {
                "transform": [{"filter": "isValid(datum.l)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "l"}, "x2": {"field": "h"}, "y": y, "color": colour},
            }
        )
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 70},
            "encoding": {"x": {**x, "field": "d"}, "y": y, "color": colour, "tooltip": told},
        }
    )
    return Chart(
        {"height": 26 * len(rows) + 10, "data": {"values": rows}, "layer": layers},
        f"Difference in {heading} of {counted(len(rows), 'case')} with intervals; the table has the values.",
    )


def _watched_first(changes: Sequence[Change]) -> list[Change]:
    return sorted(changes, key=lambda each: not each.gated)


def _cells(change: Change) -> dict[str, Any]:
    names = ("case", "quantity", "before", "after", "difference", "interval", "tolerance", "verdict")
    cells: dict[str, Any] = dict(zip(names, change_row(change), strict=True))
    plain = {Verdict.WORSE: "worse", Verdict.BETTER: "better"}
    return {
        **cells,
        "gated": change.gated,
        "class": plain.get(change.verdict, "") if change.verdict else "",
        "note": change.note,
        "v": {"before": change.before, "after": change.after, "difference": change.difference},
    }


def _most_changed(each: CaseChanges) -> int:
    return len(each.shown.became_wrong) + len(each.shown.became_right) if each.shown else 0


def _finished(record: Record) -> Any:
    try:
        return moment(record.finished)
    except ValueError:
        return moment("0001-01-01")

"""Pages of the site: the front page and one for each suite, as sections of text and charts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlbench.contracts import Part, Section
from mlbench.history.quantity_parts import quantities_part
from mlbench.history.steps import ENOUGH, FEWEST
from mlbench.history.suite_history import SuiteHistory
from mlbench.history.templates import template
from mlbench.history.texts import (
    change_text,
    counted,
    day_text,
    quantity_text,
    run_text,
)
from mlbench.history.turn_parts import gravest_first, turns_part
from mlbench.history.turns import Turn, later_move, turns_of
from mlbench.regression.change import Verdict

__all__ = ["front_sections", "page_names", "search_text", "suite_sections"]

#: Turns that the front page lists of either direction, and those that the page of a suite lists.
_FRONT, _TURNS = 12, 60

#: Rows of the table of runs.
_RUNS = 500


def page_names(suites: Iterable[str]) -> dict[str, str]:
    """File names of the pages of suites, different ones also where only the case of letters differs."""
    names: dict[str, str] = {}
    taken = {"index.html"}
    for suite in suites:
        slug = re.sub(r"[^\w.-]+", "-", suite, flags=re.ASCII).strip(".-") or "suite"
        name, number = f"{slug}.html", 1
        while name.lower() in taken:
            number += 1
            name = f"{slug}-{number}.html"
        taken.add(name.lower())
        names[suite] = name
    return names


def front_sections(
    histories: Sequence[SuiteHistory], names: Mapping[str, str], remarks: Sequence[str]
) -> list[tuple[str, Section]]:
    """The sections of the front page, by their anchors. remarks: on files that were left out."""
    worse = turns_of(histories, (Verdict.WORSE,))
    better = turns_of(histories, (Verdict.BETTER,))
    failures = [each for history in histories for each in _failures(history, names[history.name])]
    answer, answer_more = _answer(histories, worse, bool(failures))
    none = "No step to the worse beyond the noise and the tolerances."
    first = turns_part(
        worse, names, _FRONT, answer=answer, answer_more=answer_more, failures=failures, none=none
    )
    none = "No step to the better beyond the noise and the tolerances."
    second = turns_part(better, names, _FRONT, none=none)
    rows = [_suite_row(history, names[history.name]) for history in histories]
    return [
        ("worse", Section("What got worse", (first,))),
        ("better", Section("What got better", (second,))),
        ("suites", Section("Suites", (Part(template("suites"), {"rows": rows, "remarks": remarks}),))),
        ("reading", _reading()),
    ]


def suite_sections(history: SuiteHistory) -> list[tuple[str, Section]]:
    """The sections of the page of a suite, by their anchors."""
    steps = turns_part(
        turns_of([history]),
        {},
        _TURNS,
        failures=_failures(history, "#runs"),
        none=f"No step. {search_text(history)}",
    )
    found = [("steps", Section("Steps", (steps,)))]
    for anchor, title, groups in (
        ("metrics", "Metrics", ("metrics",)),
        ("speeds", "Speeds and memory", ("speed", "memory")),
        ("sizes", "Sizes", ("size",)),
    ):
        series = [each for each in history.series if each.group in groups]
        if series:
            found.append((anchor, Section(title, (quantities_part(anchor, series),))))
    return [*found, ("runs", Section("Runs", (_runs(history),))), ("reading", _reading())]


def _answer(histories: Sequence[SuiteHistory], worse: Sequence[Turn], failing: bool) -> tuple[str, str]:
    """The first sentences of the front page."""
    cases = sum(len(history.runs) for history in histories)
    searched = [each for history in histories for each in history.series if not each.remark]
    if not searched:
        return (
            "No history is long enough to search for steps yet.",
            f"{ENOUGH} comparable runs of a case are needed; `mlbench compare` compares any two runs.",
        )
    about = (
        f"Searched for steps: {len(searched)} series of {counted(cases, 'case')} "
        f"in {counted(len(histories), 'suite')}."
    )
    if not worse:
        return ("Some cases fail now." if failing else "Nothing got worse."), about
    turn = worse[0]
    event = gravest_first(turn)[0]
    series, move = event.series, event.move
    later = later_move(event)
    state = "" if later is None else " (changed again since)"
    return (
        f"Newest step to the worse: {turn.suite}, {series.case}: {quantity_text(series)} "
        f"{change_text(series, move)} at {run_text(turn.after)}{state}.",
        about,
    )


def _failures(history: SuiteHistory, page: str) -> list[dict[str, str]]:
    """The cases that fail now, as text. page: the address that their lines lead to."""
    return [
        {
            "suite": history.name,
            "page": page,
            "case": each.run.case,
            "run": run_text(each.run),
            "error": each.error,
            "before": run_text(each.before) if each.before else "",
        }
        for each in history.failures
    ]


def _suite_row(history: SuiteHistory, page: str) -> dict[str, Any]:
    runs = [run for case in history.runs.values() for run in case]
    newest = max(runs, key=lambda run: run.at)
    return {
        "suite": history.name,
        "page": page,
        "cases": len(history.runs),
        "runs": max(len(case) for case in history.runs.values()),
        "day": day_text(newest),
        "revision": newest.label,
        "worse": len(history.of_verdict(Verdict.WORSE)),
        "better": len(history.of_verdict(Verdict.BETTER)),
        "failing": len(history.failures),
        "search": search_text(history),
    }


def search_text(history: SuiteHistory) -> str:
    """How much of a history was long enough for a search: "3 of 9 series; 6 too short (...)". Sizes need no
    search, as each of their changes is a step."""
    noisy = [each for each in history.series if each.group != "size"]
    short = [each for each in noisy if each.remark]
    if not noisy:
        return "no metrics and no speeds"
    if not short:
        return f"all {len(noisy)} series of metrics and speeds"
    found = f"{len(noisy) - len(short)} of {len(noisy)} series of metrics and speeds"
    some = "no series of metrics and speeds" if len(short) == len(noisy) else found
    return f"{some}; {len(short)} too short ({short[0].remark.removeprefix('too short: ')})"


def _runs(history: SuiteHistory) -> Part:
    runs = sorted(
        (run for case in history.runs.values() for run in case), key=lambda run: run.at, reverse=True
    )
    rows = [
        {
            "day": day_text(run),
            "revision": run.label,
            "subject": run.revision.get("subject", ""),
            "case": run.case,
            "seeds": ", ".join(str(record.seed) for record in run.records),
            "failed": len(run.records) - len(run.done),
            "machine": run.machine,
            "data": str(run.records[0].data.get("version", "")),
        }
        for run in runs[:_RUNS]
    ]
    lines = [f"{len(runs) - _RUNS} older runs are not listed."] if len(runs) > _RUNS else []
    return Part(template("runs"), {"rows": rows, "more": " ".join([*lines, *history.remarks])})


def _reading() -> Section:
    values = {"fewest": FEWEST, "enough": ENOUGH}
    return Section("How to read this", (Part(template("reading"), values),))

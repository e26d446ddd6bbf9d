"""Pages of the site: the front page and one for each suite, as sections of text and charts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from mlbench.contracts import Chart, Part, Section
from mlbench.history.charts import series_chart
from mlbench.history.moves import Move
from mlbench.history.series import Series
from mlbench.history.steps import ENOUGH, FEWEST
from mlbench.history.suite_history import Event, SuiteHistory
from mlbench.history.templates import template
from mlbench.history.texts import (
    change_text,
    counted,
    day_text,
    interval_text,
    noise_text,
    quantity_text,
    run_text,
    unit_text,
    value_text,
    verdict_text,
)
from mlbench.history.turns import Turn, later_move, turns_of
from mlbench.regression.change import Verdict

__all__ = ["front_sections", "page_names", "suite_sections"]

#: Turns that the front page lists of either direction, and those that the page of a suite lists.
_FRONT, _TURNS = 12, 60

#: Events of a turn that the front page lists, and those that the page of a suite lists without a click.
_FEW, _ROWS = 6, 12

#: Differences that a turn lists.
_CAUSES = 24

#: Charts of one quantity on one machine.
_CHARTS = 24

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
    failures = [
        {
            "suite": history.name,
            "page": names[history.name],
            "case": each.run.case,
            "run": run_text(each.run),
            "error": each.error,
            "before": run_text(each.before) if each.before else "",
        }
        for history in histories
        for each in history.failures
    ]
    answer, answer_more = _answer(histories, worse, bool(failures))
    none = "No step to the worse beyond the noise and the tolerances."
    first = _turns_part(
        worse, names, _FRONT, answer=answer, answer_more=answer_more, failures=failures, none=none
    )
    none = "No step to the better beyond the noise and the tolerances."
    second = _turns_part(better, names, _FRONT, none=none)
    rows = [_suite_row(history, names[history.name]) for history in histories]
    return [
        ("worse", Section("What got worse", (first,))),
        ("better", Section("What got better", (second,))),
        ("suites", Section("Suites", (Part(template("suites"), {"rows": rows, "remarks": remarks}),))),
        ("reading", _reading()),
    ]


def suite_sections(history: SuiteHistory) -> list[tuple[str, Section]]:
    """The sections of the page of a suite, by their anchors."""
    failures = [
        {
            "suite": history.name,
            "page": "#runs",
            "case": each.run.case,
            "run": run_text(each.run),
            "error": each.error,
            "before": run_text(each.before) if each.before else "",
        }
        for each in history.failures
    ]
    steps = _turns_part(
        turns_of([history]), {}, _TURNS, failures=failures, none=f"No step. {_search(history)}"
    )
    found = [("steps", Section("Steps", (steps,)))]
    for anchor, title, groups in (
        ("metrics", "Metrics", ("metrics",)),
        ("speeds", "Speeds and memory", ("speed", "memory")),
        ("sizes", "Sizes", ("size",)),
    ):
        series = [each for each in history.series if each.group in groups]
        if series:
            found.append((anchor, Section(title, (_quantities(anchor, series),))))
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
    event = _gravest_first(turn)[0]
    series, move = event.series, event.move
    later = later_move(event)
    state = "" if later is None else " (changed again since)"
    return (
        f"Newest step to the worse: {turn.suite}, {series.case}: {quantity_text(series)} "
        f"{change_text(series, move)} at {run_text(turn.after)}{state}.",
        about,
    )


def _turns_part(turns: Sequence[Turn], names: Mapping[str, str], most: int, **values: Any) -> Part:
    more = f"{len(turns) - most} older ones are on the pages of the suites." if len(turns) > most else ""
    given = {"answer": "", "answer_more": "", "failures": [], "linked": bool(names), "more": more}
    shown = [_turn(turn, names.get(turn.suite, "")) for turn in turns[:most]]
    return Part(template("turns") + template("lately"), {**given, "turns": shown, **values})


def _turn(turn: Turn, page: str) -> dict[str, Any]:
    """A turn as text. page: of its suite, on the front page; "" on that page itself."""
    machines = len({event.series.machine for event in turn.events if event.series.machine}) > 1
    rows = [_event_row(each.series, each.move, machines) for each in _gravest_first(turn)]
    listed = _FEW if page else _ROWS
    subject = str(turn.after.revision.get("subject", ""))
    return {
        "suite": turn.suite,
        "page": page,
        "title": " ".join(filter(None, (run_text(turn.after), subject))),
        "day": day_text(turn.after),
        "before": " ".join(dict.fromkeys((turn.before.label, day_text(turn.before)))).strip(),
        "rows": rows[:listed],
        "rest": [] if page else rows[listed:],
        "more_rows": max(0, len(rows) - listed) if page else 0,
        "causes": turn.causes[:_CAUSES],
        "more_causes": max(0, len(turn.causes) - _CAUSES),
    }


def _gravest_first(turn: Turn) -> list[Event]:
    """The events of a turn: losses before gains, headline quantities before others."""
    order = [Verdict.WORSE, Verdict.BETTER, Verdict.INCONCLUSIVE, Verdict.SAME, None]
    # Of equals, the order of the quantities of a suite.
    return sorted(turn.events, key=lambda each: (order.index(each.move.verdict), not each.series.headline))


def _event_row(series: Series, move: Move, machines: bool) -> dict[str, str]:
    """machines: whether to name the machine."""
    later = [each for each in series.moves if each.step.at > move.step.at]
    unit = unit_text(series)
    return {
        "case": series.case,
        "quantity": quantity_text(series) + (f" ({unit})" if unit else ""),
        "machine": series.machine if machines else "",
        "before": value_text(series, move.step.before),
        "after": value_text(series, move.step.after),
        "change": change_text(series, move),
        "interval": interval_text(series, move) or "exact",
        "class": move.verdict.value if move.verdict in (Verdict.WORSE, Verdict.BETTER) else "",
        "verdict": verdict_text(move.verdict, series.tolerance),
        "note": move.note,
        "later": f"{change_text(series, later[0])} at {run_text(later[0].after)}" if later else "unchanged",
    }


def _suite_row(history: SuiteHistory, page: str) -> dict[str, Any]:
    runs = [run for case in history.runs.values() for run in case]
    newest = max(runs, key=lambda run: run.finished)
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
        "search": _search(history),
    }


def _search(history: SuiteHistory) -> str:
    """How much of the history was long enough for a search."""
    noisy = [each for each in history.series if each.group != "size"]
    short = [each for each in noisy if each.remark]
    if not noisy:
        return "no metrics and no speeds"
    if not short:
        return f"all {len(noisy)} series"
    some = "no series" if len(short) == len(noisy) else f"{len(noisy) - len(short)} of {len(noisy)} series"
    return f"{some}; {len(short)} too short ({short[0].remark.removeprefix('too short: ')})"


def _quantities(anchor: str, series: Sequence[Series]) -> Part:
    ordered = sorted(series, key=lambda each: _quantity_order(series, each))
    shown: list[dict[str, Any]] = []
    charts: dict[str, Chart] = {}
    for _, group in groupby(ordered, key=lambda each: (each.name, each.machine)):
        members = list(group)
        verdicts = [move.verdict for each in members for move in each.moves]
        # Those with steps first, where there are too many.
        drawn = sorted((each for each in members if len(each.points) > 1), key=lambda each: not each.moves)
        names = {each.case: f"{anchor}-{len(shown)}-{place}" for place, each in enumerate(drawn[:_CHARTS])}
        charts |= {names[each.case]: series_chart(each) for each in drawn[:_CHARTS]}
        unit = unit_text(members[0])
        shown.append(
            {
                "anchor": f"{anchor}-{len(shown)}",
                "title": quantity_text(members[0]) + (f" ({unit})" if unit else ""),
                "machine": members[0].machine,
                "charts": [(each.case, names[each.case]) for each in members if each.case in names],
                "not_drawn": f"{len(drawn) - _CHARTS} cases are not drawn." if len(drawn) > _CHARTS else "",
                "open": not shown or (members[0].headline and Verdict.WORSE in verdicts),
                "worse": verdicts.count(Verdict.WORSE),
                "better": verdicts.count(Verdict.BETTER),
                "rows": [_series_row(each) for each in members],
                "notes": _series_notes(members),
            }
        )
    return Part(template("quantities"), {"shown": shown}, charts)


def _quantity_order(series: Sequence[Series], each: Series) -> tuple[int, str, int]:
    names = list(dict.fromkeys(other.name for other in series))
    cases = list(dict.fromkeys(other.case for other in series))
    return names.index(each.name), each.machine, cases.index(each.case)


def _series_row(series: Series) -> dict[str, Any]:
    newest = series.points[-1]
    interval = ""
    if newest.low is not None and newest.high is not None:
        ends = f"{value_text(series, newest.low)} to {value_text(series, newest.high)}"
        interval = f"{ends} ({newest.basis})"
    step = series.remark or "none"
    if series.moves:
        move = series.moves[-1]
        words = verdict_text(move.verdict, series.tolerance)
        step = f"{change_text(series, move)} at {run_text(move.after)}: {words}"
    return {
        "case": series.case,
        "runs": len(series.points),
        "first": value_text(series, series.points[0].value),
        "newest": value_text(series, newest.value),
        "interval": interval,
        "noise": noise_text(series),
        "step": step,
    }


def _series_notes(members: Sequence[Series]) -> list[str]:
    notes = {
        f"{each.case}: not compared across the run {run_text(each.points[stop.at].run)}, {stop.reason}": None
        for each in members
        for stop in each.breaks
    }
    if members[0].group == "speed" and any(each.paced for each in members):
        notes["Corrected by the reference workload to the usual pace of this machine."] = None
    return [*notes][:_ROWS]


def _runs(history: SuiteHistory) -> Part:
    runs = sorted(
        (run for case in history.runs.values() for run in case), key=lambda run: run.finished, reverse=True
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

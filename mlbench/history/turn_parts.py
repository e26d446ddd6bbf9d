"""Turns as parts of a page: tables of what moved at a revision, with what differs there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlbench.contracts import Part
from mlbench.history.moves import Move
from mlbench.history.series import Series
from mlbench.history.suite_history import Event
from mlbench.history.templates import template
from mlbench.history.texts import (
    change_text,
    day_text,
    interval_text,
    quantity_text,
    run_text,
    unit_text,
    value_text,
    verdict_text,
)
from mlbench.history.turns import Turn
from mlbench.regression.change import Verdict

__all__ = ["gravest_first", "turns_part"]

#: Events of a turn that the front page lists, and those that the page of a suite lists without a click.
_FEW, _ROWS = 6, 12

#: Differences that a turn lists.
_CAUSES = 24


def turns_part(turns: Sequence[Turn], names: Mapping[str, str], most: int, **values: Any) -> Part:
    """The newest turns. names: of the pages of suites, on the front page; {} on those pages themselves. most:
    turns that are listed. values: others for the template."""
    more = f"{len(turns) - most} older ones are on the pages of the suites." if len(turns) > most else ""
    given = {"answer": "", "answer_more": "", "failures": [], "linked": bool(names), "more": more}
    shown = [_turn(turn, names.get(turn.suite, "")) for turn in turns[:most]]
    return Part(template("turns") + template("lately"), {**given, "turns": shown, **values})


def _turn(turn: Turn, page: str) -> dict[str, Any]:
    """A turn as text. page: of its suite, on the front page; "" on that page itself."""
    machines = len({event.series.machine for event in turn.events if event.series.machine}) > 1
    rows = [_event_row(each.series, each.move, machines) for each in gravest_first(turn)]
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


def gravest_first(turn: Turn) -> list[Event]:
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
        "interval": interval_text(series, move) or ("exact" if series.group == "size" else "no noise"),
        "class": move.verdict.value if move.verdict in (Verdict.WORSE, Verdict.BETTER) else "",
        "verdict": verdict_text(move.verdict, series.tolerance),
        "note": move.note,
        "later": f"{change_text(series, later[0])} at {run_text(later[0].after)}" if later else "unchanged",
    }

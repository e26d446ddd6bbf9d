"""Turns: all events between the same two revisions of a suite, as one entry with what changed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.history.differences import Difference
from mlbench.history.moves import Move
from mlbench.history.runs import Run
from mlbench.history.suite_history import Event, SuiteHistory
from mlbench.regression.change import Verdict

__all__ = ["Turn", "later_move", "turns_of"]


@dataclass(frozen=True, slots=True)
class Turn:
    """Events of one suite at the same place. before, after: the runs on either side, of the first event.
    causes: what differs between them in any of the events."""

    suite: str
    before: Run
    after: Run
    events: tuple[Event, ...]
    causes: tuple[Difference, ...]


def turns_of(
    histories: Sequence[SuiteHistory], verdicts: Sequence[Verdict | None] | None = None
) -> list[Turn]:
    """The turns of histories, the newest first. verdicts: of the events that are kept; None for all."""
    groups: dict[tuple[object, ...], list[Event]] = {}
    suites: dict[tuple[object, ...], str] = {}
    for history in histories:
        for event in history.events:
            if verdicts is None or event.move.verdict in verdicts:
                key = (history.name, *_place(event))
                groups.setdefault(key, []).append(event)
                suites[key] = history.name
    turns = [
        Turn(
            suites[key],
            events[0].move.before,
            events[0].move.after,
            tuple(events),
            tuple(dict.fromkeys(cause for event in events for cause in event.causes)),
        )
        for key, events in groups.items()
    ]
    return sorted(turns, key=lambda turn: turn.after.at, reverse=True)


def later_move(event: Event) -> Move | None:
    """The next move of the same series after an event; None where it is the last."""
    later = [move for move in event.series.moves if move.step.at > event.move.step.at]
    return later[0] if later else None


def _place(event: Event) -> tuple[object, ...]:
    """Equal for events between the same revisions; without revisions, on the same day with the same
    differences."""
    before, after = event.move.before, event.move.after
    commits: Mapping[str, object] = after.revision
    if commits.get("commit"):
        return before.revision.get("commit"), commits["commit"], commits.get("changed")
    return after.at[:10], event.causes

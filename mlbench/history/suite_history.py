"""The history of one suite: its runs, series and moves, and the cases that fail now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlbench.errors import first_few
from mlbench.history.differences import Difference, differences
from mlbench.history.moves import Move
from mlbench.history.runs import Run, runs_of
from mlbench.history.series import Series, series_of
from mlbench.records.record import Record, default_tolerances
from mlbench.regression.change import Verdict

__all__ = ["MOST", "Event", "Failure", "SuiteHistory", "suite_history"]

#: Runs of a case that a history covers; the newest.
MOST = 200


@dataclass(frozen=True, slots=True)
class Event:
    """A move of a series, and what differs between the runs on either side of it."""

    series: Series
    move: Move
    causes: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A case whose newest run has failed seeds. before: its newest run without, None where there is none."""

    run: Run
    error: str
    before: Run | None


@dataclass(frozen=True)
class SuiteHistory:
    """The history of a suite. runs: by case, oldest first. events: the newest first, of one time in the
    order of `series`. remarks: on what is left out, one line each."""

    name: str
    runs: Mapping[str, tuple[Run, ...]]
    series: tuple[Series, ...]
    events: tuple[Event, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...] = ()

    def of_verdict(self, verdict: Verdict) -> list[Event]:
        """The events with this verdict."""
        return [event for event in self.events if event.move.verdict is verdict]


def suite_history(
    name: str,
    records: Sequence[Record],
    stated: Mapping[str, float] | None = None,
    *,
    by_commit: bool = False,
) -> SuiteHistory:
    """The history in the records of one suite. stated: tolerances of the suite; a metric without one has the
    default that it announced. by_commit: see `runs_of`. Raises StoreError where the library of the search is
    missing."""
    tolerances = {**default_tolerances(records), **(stated or {})}
    by_case: dict[str, list[Record]] = {}
    for record in records:
        by_case.setdefault(record.case, []).append(record)
    runs, left_out = {}, []
    for case, group in by_case.items():
        found = runs_of(group, by_commit=by_commit)
        runs[case] = found[-MOST:]
        if len(found) > MOST:
            left_out.append(f"{case} ({len(found) - MOST})")
    series = tuple(each for case in runs for each in series_of(case, runs[case], tolerances))
    events = [
        Event(each, move, differences(move.before, move.after)) for each in series for move in each.moves
    ]
    events.sort(key=lambda event: event.move.after.at, reverse=True)
    remarks = (
        (f"only the newest {MOST} runs of a case are shown; older ones left out: {first_few(left_out, 3)}",)
        if left_out
        else ()
    )
    return SuiteHistory(name, runs, series, tuple(events), tuple(_failures(runs)), remarks)


def _failures(runs: Mapping[str, Sequence[Run]]) -> Iterator[Failure]:
    for case in runs.values():
        failed = [record for record in case[-1].records if record.status != "done"]
        if failed:
            whole = [run for run in case if len(run.done) == len(run.records)]
            seeds = f"{len(failed)} of {len(case[-1].records)} seeds: "
            error = f"{seeds if len(case[-1].records) > 1 else ''}{failed[0].error}"
            yield Failure(case[-1], error, whole[-1] if whole else None)

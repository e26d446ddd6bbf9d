"""Runs of a case: its records that were made together, one for each seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mlbench.records.record import Record
from mlbench.regression.change import hardware

__all__ = ["Run", "moment", "runs_of"]

#: Digits of a commit that are shown.
_DIGITS = 10


@dataclass(frozen=True)
class Run:
    """Records of one case, revision, machine, settings and conditions, each seed once, in the order of their
    seeds. at: its place in time (UTC, ISO 8601 to the second): when the last record was finished, or the time
    of its commit (see `runs_of`)."""

    records: tuple[Record, ...]
    at: str = ""

    @property
    def case(self) -> str:
        """The case."""
        return self.records[0].case

    @property
    def done(self) -> tuple[Record, ...]:
        """The records with results."""
        return tuple(record for record in self.records if record.status == "done")

    @property
    def finished(self) -> str:
        """When the last of its records was finished: UTC, ISO 8601, to the second."""
        return _text(max(moment(record.finished) for record in self.records))

    @property
    def revision(self) -> Mapping[str, Any]:
        """See `mlbench.revision.revision_facts`; {} where it is not known."""
        return _revision(self.records[0])

    @property
    def label(self) -> str:
        """Short name of the revision: "1a2b3c4d5e", with a + for files changed since; "" where not known."""
        commit = str(self.revision.get("commit", ""))[:_DIGITS]
        return f"{commit}+" if commit and self.revision.get("changed") else commit

    @property
    def machine(self) -> str:
        """The hardware in words."""
        found = hardware(self.records[0])
        words = [found["cpu"], f"{found['cores']} cores", found.get("device", "")]
        return ", ".join(filter(None, words))


def runs_of(records: Iterable[Record], *, by_commit: bool = False) -> tuple[Run, ...]:
    """The runs of one case, oldest first.

    A new run begins where a seed comes a second time. by_commit: in the order of the times of their commits,
    where they are known, for runs of old revisions that were made later.
    """
    open_: dict[str, dict[int, Record]] = {}
    groups: list[dict[int, Record]] = []
    for record in sorted(records, key=lambda each: (moment(each.finished), each.seed)):
        key = _made_by(record)
        if key not in open_ or record.seed in open_[key]:
            open_[key] = {}
            groups.append(open_[key])
        open_[key][record.seed] = record
    runs = [Run(tuple(record for _, record in sorted(group.items()))) for group in groups]
    placed = [replace(run, at=_text(_place(run, by_commit))) for run in runs]
    return tuple(sorted(placed, key=lambda run: (run.at, run.finished)))


def moment(text: str) -> datetime:
    """A time in ISO 8601, of UTC where it names no zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _place(run: Run, by_commit: bool) -> datetime:
    told = str(run.revision.get("time", "")) if by_commit else ""
    try:
        return moment(told or run.finished)
    except ValueError:
        return moment(run.finished)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _revision(record: Record) -> Mapping[str, Any]:
    found = record.environment.get("revision")
    return found if isinstance(found, Mapping) else {}


def _made_by(record: Record) -> str:
    facts: Sequence[Any] = (
        _revision(record).get("commit"),
        _revision(record).get("changed"),
        hardware(record),
        record.settings,
        record.conditions,
        record.components,
    )
    return json.dumps(facts, sort_keys=True, default=str)

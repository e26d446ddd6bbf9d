"""Records of many runs of one case, made up: one commit an hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from made_records import HERE, record

from mlbench.records.record import Estimate, Record, Timing


def commit(number: int) -> str:
    return f"{number:040x}"[::-1]


def finished(number: int) -> str:
    return f"2026-01-{1 + number // 24:02}T{number % 24:02}:00:00+00:00"


def made(number: int, seed: int = 0, **facts: Any) -> Record:
    """A record of run `number`."""
    revision = {"commit": commit(number), "subject": f"Change {number}", "changed": False}
    environment = {**HERE, "revision": revision, **facts.pop("environment", {})}
    plain = {"finished": finished(number), "environment": environment, "data": {"version": "1"}}
    return record(seed, **{**plain, **facts})


def scores(values: Sequence[float], name: str = "recall_at_1", seed: int = 0, **facts: Any) -> list[Record]:
    """One run for each value of a metric."""
    return [
        made(number, seed, metrics={name: Estimate(value, headline=True)}, **facts)
        for number, value in enumerate(values)
    ]


def speeds(rates: Sequence[float], paces: Sequence[float] = (), **facts: Any) -> list[Record]:
    """One run for each median rate. paces: seconds of the reference workload."""
    found = []
    for number, rate in enumerate(rates):
        rounds = tuple(rate * share for share in (0.98, 0.99, 1, 1, 1.01, 1.02, 1))
        reference = (paces[number],) * 7 if paces else ()
        timing = Timing(rate, rounds, "images/s", reference=reference)
        measured = {"batch_size": 32, "threads": 1}
        found.append(made(number, speed={"images_per_second": timing}, measured=measured, **facts))
    return found

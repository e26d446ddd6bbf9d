"""Real runs of two toy cases, one of which fails, with a built-in tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import TOY_SUITE
from stub_measuring import stub_measuring

from mlbench import runner
from mlbench.claims.suite_claims import claims_of_store
from mlbench.environment import Device
from mlbench.measurement.result import Measurement
from mlbench.planning.plan import make_plan
from mlbench.planning.suite import load_suite
from mlbench.records.record import Record, Timing
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.tracking import Tracking

MORE = """\
cases: {good: {}, bad: {recipe.lr: 1.0e+30}}
claims:
  much: {name: better, sentence: So., case: good, than: bad, metric: f1, differ: [recipe.lr]}
"""


class Lines:
    """A listener that remembers notes. stop_after: epochs after which Ctrl-C comes; 0 for never."""

    def __init__(self, stop_after: int = 0) -> None:
        self.notes: list[str] = []
        self._left = stop_after

    def case(self, *arguments: Any) -> None: ...

    def stage(self, *arguments: Any) -> None: ...

    def epoch(self, *arguments: Any) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt

    def finished(self, record: Record) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def tracked_run(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, folder: Path, tracker: str, *, stop_after: int = 0
) -> list[Record]:
    """The records of the cases, below folder/results/toy. tracker: as --track takes it. Nothing is noted."""
    speed = {"images_per_second": Timing(100.0, (100.0,), "images/s")}
    stub_measuring(monkeypatch, Measurement(speed, measured={"batch_size": 32}))
    path = folder / "toy.yaml"
    path.write_text(TOY_SUITE + MORE)
    suite = load_suite(path, registry, overrides=("evaluation.resamples=10",), track=(tracker,))
    plan = make_plan(suite, Device("cpu", "test"))
    store, lines = Store(folder / "results", "toy"), Lines(stop_after)
    with Tracking(plan.suite.trackers, plan, store.folder, lines, lines.note) as listener:
        records = runner.run(plan, store, listener)
        listener.finish(records, lambda: claims_of_store(plan, store))
    assert lines.notes == []
    return records


def expected(record: Record) -> dict[str, float]:
    """The last value of everything that a tracker shows of a finished record, by name."""
    found: dict[str, float | None] = {f"size/{name}": value for name, value in record.size.items()}
    for name, each in record.metrics.items():
        found[f"metrics/{name}"] = each.value
        found[f"metrics/{name}_low"], found[f"metrics/{name}_high"] = each.low, each.high
    for group in ("speed", "memory"):
        for name, each in getattr(record, group).items():
            found[f"{group}/{name}"] = each.value
    for name, curve in record.training["curves"].items():
        found[f"training/{name}"] = curve[-1]
    return {name: value for name, value in found.items() if value is not None}

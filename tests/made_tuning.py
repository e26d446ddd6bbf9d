"""A suite of the toys with a section `tune`, and what a test needs to search it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlbench.planning.plan import Case
from mlbench.planning.request import PlanRequest
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.registry import Registry
from mlbench.tuning.search import Search
from mlbench.tuning.study import Study
from mlbench.tuning.tuning import Tuning, read_tuning

TUNE = """\
tune:
  objective: f1
  repeats: 2
  space:
    loss.margin: {low: 0.0, high: 0.4}
    recipe.lr: {low: 1e-3, high: 1e-1, log: true}
    augmentation: {choices: [null, jitter]}
"""

CPU = PlanRequest(device="cpu")


class Ears:
    """A listener that remembers what runs started and ended. stop_after: runs after which Ctrl-C comes."""

    def __init__(self, stop_after: int = 0) -> None:
        self.cases: list[str] = []
        self.records: list[Record] = []
        self._stop_after = stop_after

    def case(self, case: Case, position: int, total: int, left: str) -> None:
        self.cases.append(f"{case.name} {case.seed} {position}/{total}")

    def stage(self, what: str, done: int, total: int) -> None:
        pass

    def epoch(self, case: Case, epoch: int, values: object) -> None:
        pass

    def finished(self, record: Record) -> None:
        self.records.append(record)
        if len(self.records) == self._stop_after:
            raise KeyboardInterrupt


class Searcher:
    """Searches a suite in a folder of its own."""

    def __init__(self, path: Path, registry: Registry, folder: Path, request: PlanRequest = CPU) -> None:
        self.tuning: Tuning = read_tuning(path, registry, request)
        self.store = Store(folder, self.tuning.suite.name)

    def study(self) -> Study:
        return Study(self.store.folder, self.tuning.name, self.tuning.facts)

    def search(self, trials: int, ears: Ears | None = None, **options: object) -> Study:
        study = self.study()
        Search(self.tuning, self.store, study, ears or Ears(), trials, **options).run()
        return study


Make = Callable[..., Searcher]

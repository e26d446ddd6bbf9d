"""A search: the runs of a tuning, those of its trials and those that show its noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from mlbench.environment import check_torch
from mlbench.errors import MlbenchError, StoreError, TrainingError
from mlbench.measurement.durations import Durations, duration_text
from mlbench.planning.plan import Case, Plan
from mlbench.records.record import Record
from mlbench.records.store import Store
from mlbench.runner import Listener, run_case
from mlbench.tuning.study import Claim, Study
from mlbench.tuning.trial import kept_score
from mlbench.tuning.tuning import Tuning

if TYPE_CHECKING:
    from mlbench.training.train import EpochEnd, Observer

__all__ = ["Search"]

#: More than the epochs of any run: numbers the evaluations of several seeds of a trial.
_SEED_STEPS = 1_000_000


def _ignore(end: EpochEnd) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True)
class Search:
    """Runs what a tuning lacks, one run after the other; other processes may do the same. store: of the
    records. trials: how many there will be in all, whatever became of them.

    Raises SuiteError, before any training, for a component that cannot be built with the outermost values,
    and StoreError as `mlbench.runner.run` does. Finished runs are kept.
    """

    tuning: Tuning
    store: Store
    study: Study
    listener: Listener
    trials: int
    timeout: float | None = None
    clock: Callable[[], float] = time.monotonic

    def run(self) -> None:
        """Start runs until all trials are there, or `timeout` seconds have passed."""
        start = self.clock()
        outermost, repeats = self.tuning.outermost(), self.tuning.repeats()
        check_torch(outermost.device)
        from mlbench.training.preflight import preflight

        preflight(outermost.cases, outermost.device.name, self.listener.stage)
        section = self.tuning.section
        total = section.repeats + self.trials * len(section.seeds)
        train = _Trainer(self.store, self.listener, Durations(outermost.device), total)

        def due() -> bool:
            return self.timeout is None or self.clock() - start < self.timeout

        for position, case in enumerate(repeats.cases if repeats else (), 1):
            if repeats is not None and due():
                self._repeat(case, repeats, partial(train, position=position))
        while due():
            with self.study.claim(self.trials) as claim:
                if claim is None:
                    break
                self._trial(claim, train)

    def _repeat(self, case: Case, plan: Plan, train: Callable[[Case, Plan], Record]) -> None:
        """Run the case as the suite has it, unless another process does."""
        locks = self.study.locks
        with locks.choosing():
            lock = locks.take(case.key)
        if lock is not None:
            try:
                self.study.add_repeat(train(case, plan).key)
            finally:
                with locks.choosing():
                    locks.drop(case.key, lock)

    def _trial(self, claim: Claim, train: _Trainer) -> None:
        """Run a trial with every seed, and tell the study what came of it."""
        section = self.tuning.section
        records: list[Record] = []
        scores = []
        pruned = False
        try:
            plan = self.tuning.trial(claim.number, claim.values)
            for number, case in enumerate(plan.cases):
                observer = _Observer(claim, case, number, section.objective)
                position = section.repeats + claim.number * len(section.seeds) + number + 1
                records.append(train(case, plan, position, observer))
                pruned = observer.pruned
                if records[-1].status != "done":
                    raise TrainingError(records[-1].error)
                scores.append(kept_score(records[-1]))
        except StoreError:
            raise
        except MlbenchError as error:
            claim.failed(str(error), [record.key for record in records], pruned=pruned)
        else:
            claim.done(fmean(scores), [record.key for record in records])


@dataclass(frozen=True)
class _Trainer:
    """Runs cases that have no finished record. total: number of runs of the whole search."""

    store: Store
    listener: Listener
    durations: Durations
    total: int

    def __call__(self, case: Case, plan: Plan, position: int, observe: Observer = _ignore) -> Record:
        known = self.store.get(case.key)
        if known is not None and known.status == "done":
            return known
        one, unknown = self.durations.training([case])
        left = "" if unknown else duration_text(one * (self.total - position + 1))
        self.listener.case(case, position, self.total, left)
        record = run_case(case, plan, self.store, self.listener, observe)
        self.durations.learn(case, record)
        self.listener.finished(record)
        return record


class _Observer:
    """Reports the scores of a run to the study, and ends the run of a bad trial.

    pruned: whether it has.
    """

    def __init__(self, claim: Claim, case: Case, position: int, objective: str) -> None:
        self.pruned = False
        self._claim = claim
        self._epochs = case.recipe.epochs
        self._first = position * _SEED_STEPS
        self._objective = objective

    def __call__(self, end: EpochEnd) -> None:
        epoch, score = end.number, end.score
        if score is None or score.value is None:
            return
        self._claim.report(self._first + epoch, score.value)
        if self._claim.is_bad(epoch, self._epochs):
            self.pruned = True
            raise TrainingError(
                f"pruned after epoch {epoch} of {self._epochs}: {self._objective} {score.value:.3f} on "
                "calibration is worse than the median of the finished trials"
            )

"""A study: the trials of a tuning in a journal that several processes share. Imports Optuna."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mlbench.atomic_write import full_disk, write_error
from mlbench.errors import StoreError, first_line
from mlbench.planning.document import parse_value
from mlbench.records.store import Store
from mlbench.seeding import derive
from mlbench.tuning.locks import JournalLock, Locks
from mlbench.tuning.outcome import Outcome, read_outcome
from mlbench.tuning.space import Choices, Dimension, read_space
from mlbench.tuning.trial import Trial

__all__ = ["Claim", "Study", "find_study", "newest_study"]

#: Name of the journal in the folder of the store.
_JOURNAL = "journal.jsonl"

#: Start of the names under which the study keeps the keys of repeats.
_REPEAT = "repeat "

#: Share of its epochs that a trial is trained before it may be pruned.
_UNPRUNED = 1 / 3

_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


class Study:
    """The trials of one tuning. folder: of the store. name: of the tuning. facts: what a report needs to know
    of it; None for a study that is there.

    Raises StoreError for a journal that cannot be read or written.
    """

    def __init__(self, folder: Path, name: str, facts: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.journal_errors = partial(_journal_errors, folder)
        self.locks = Locks(folder / "locks")
        with _journal_errors(folder):
            storage = _storage(folder)
            if facts is None:
                self._study = optuna.load_study(study_name=name, storage=storage)
            else:
                self._study = optuna.create_study(
                    study_name=name,
                    storage=storage,
                    direction="maximize" if facts["higher"] else "minimize",
                    load_if_exists=True,
                )
                for key, value in facts.items():
                    if self._study.user_attrs.get(key) != value:
                        self._study.set_user_attr(key, value)
            self.facts: Mapping[str, Any] = self._study.user_attrs
            section = self.facts["section"]
        space = {name: _form(form) for name, form in section["space"].items()}
        self.space: Mapping[str, Dimension] = read_space(space, lambda key: f"{folder / _JOURNAL}: {key}", ())
        self._study.sampler = _Sampler(section["seeds"][0])
        self._study.pruner = (
            optuna.pruners.MedianPruner() if section["pruning"] else optuna.pruners.NopPruner()
        )

    @contextlib.contextmanager
    def claim(self, most: int) -> Iterator[Claim | None]:
        """A trial to run: one that a dead process has left, else a new one; None where all `most` are there.

        Inside the block no other process runs it. A trial without a result at the end of the block is run
        again by the next `claim`, of any process.
        """
        with self.locks.choosing(), self.journal_errors():
            found = self._claimed(most)
        if found is None:
            yield None
            return
        claim, lock = found
        try:
            yield claim
        finally:
            with self.locks.choosing():
                self.locks.drop(_lock_name(self.name, claim.number), lock)

    def add_repeat(self, key: str) -> None:
        """Keep the key of a record of the case as the suite has it."""
        with self.journal_errors():
            if f"{_REPEAT}{key}" not in self._study.user_attrs:
                self._study.set_user_attr(f"{_REPEAT}{key}", True)

    def outcome(self, store: Store) -> Outcome:
        """The trials and repeats so far, with their records."""
        facts = self._study.user_attrs
        repeats = sorted(name.removeprefix(_REPEAT) for name in facts if name.startswith(_REPEAT))
        return read_outcome(facts, self.trials(), repeats, store)

    def trials(self) -> list[Trial]:
        """Every trial, by number."""
        return [self._trial(each) for each in self._study.get_trials(deepcopy=False)]

    def _claimed(self, most: int) -> tuple[Claim, FileLock] | None:
        trials = self._study.get_trials(deepcopy=False)
        for each in trials:
            if each.state == TrialState.RUNNING:
                lock = self.locks.take(_lock_name(self.name, each.number))
                if lock is not None:
                    return self._claim(each.number, lock, each), lock
        if len(trials) >= most:
            return None
        lock = self.locks.take(_lock_name(self.name, len(trials)))
        assert lock is not None, "a trial is created and locked by one process at a time"
        return self._claim(len(trials), lock), lock

    def _claim(self, number: int, lock: FileLock, known: FrozenTrial | None = None) -> Claim:
        """The claim of a trial, new or known, with its lock, which is dropped where that fails."""
        try:
            return Claim(self, optuna.Trial(self._study, known._trial_id) if known else self._study.ask())
        except BaseException:
            self.locks.drop(_lock_name(self.name, number), lock)
            raise

    def _trial(self, frozen: FrozenTrial) -> Trial:
        attributes = frozen.user_attrs
        return Trial(
            number=frozen.number,
            state=_STATES[frozen.state],
            values={name: self._value(name, value) for name, value in frozen.params.items()},
            objective=frozen.value if frozen.state == TrialState.COMPLETE else None,
            scores=dict(frozen.intermediate_values),
            records=tuple(attributes.get("records", ())),
            error=attributes.get("error", ""),
        )

    def _value(self, name: str, given: Any) -> Any:
        dimension = self.space[name]
        return parse_value(given, name) if isinstance(dimension, Choices) else given


class Claim:
    """A trial that this process runs. values: by setting."""

    def __init__(self, study: Study, trial: optuna.Trial) -> None:
        self._study = study._study
        self._errors = study.journal_errors
        self._trial = trial
        self.number = trial.number
        self.values = {
            name: study._value(name, _suggest(trial, name, dimension))
            for name, dimension in study.space.items()
        }

    def report(self, step: int, value: float) -> None:
        """Keep the score of an evaluation. A trial that is run again reports what it has reported."""
        with warnings.catch_warnings(), self._errors():
            warnings.simplefilter("ignore")  # Optuna warns of the second report
            self._trial.report(value, step)

    def is_bad(self, epoch: int, epochs: int) -> bool:
        """Whether to prune the trial after `epoch` of `epochs` and the last report: its best score so far is
        below the median of the finished trials at that epoch."""
        return _UNPRUNED * epochs <= epoch < epochs and self._trial.should_prune()

    def done(self, objective: float, records: Sequence[str]) -> None:
        """The trial has its result. records: keys of its records."""
        with self._errors():
            self._trial.set_user_attr("records", list(records))
            self._study.tell(self._trial, objective)

    def failed(self, error: str, records: Sequence[str], *, pruned: bool = False) -> None:
        """The trial ended without a result."""
        with self._errors():
            self._trial.set_user_attr("records", list(records))
            self._trial.set_user_attr("error", error)
            self._study.tell(self._trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)


def find_study(folder: Path, name: str) -> Study | None:
    """The study called `name` of the store in `folder`; None where there is none."""
    if not (folder / _JOURNAL).is_file():
        return None
    with _journal_errors(folder):
        known = [each.study_name for each in _storage(folder).get_all_studies()]
    return Study(folder, name) if name in known else None


def newest_study(folder: Path) -> Study | None:
    """The study of the store in `folder` with the newest trial; None where there is none."""
    if not (folder / _JOURNAL).is_file():
        return None
    with _journal_errors(folder):
        storage = _storage(folder)
        found = {
            study.study_name: [
                trial.datetime_start.isoformat()
                for trial in storage.get_all_trials(study._study_id, deepcopy=False)
                if trial.datetime_start is not None
            ]
            for study in storage.get_all_studies()
        }
    if not found:
        return None
    return Study(folder, max(found, key=lambda name: max(found[name], default="")))


class _Sampler(BaseSampler):
    """Optuna's TPE with a seed for each trial, and each setting where they are sampled alone: a tuning that
    was interrupted, wherever, samples what it would have sampled without the interruption."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sampler = TPESampler()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._seeded(trial.number)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        sampler = self._seeded(trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)

    def _seeded(self, *path: str | int) -> TPESampler:
        return TPESampler(seed=derive(self._seed, "tune", *path) % 2**32)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    """The value of a setting in a trial; the known one where the trial has it."""
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(name, dimension.texts)
    log, step = dimension.log, dimension.step
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), step=int(step or 1), log=log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=step, log=log)


def _form(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A dimension as a suite file has it, from its plain data."""
    return {name: value for name, value in plain.items() if value is not None}


def _lock_name(study: str, number: int) -> str:
    return f"{study}-t{number:03}"


def _storage(folder: Path) -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / _JOURNAL
    folder.mkdir(parents=True, exist_ok=True)
    lock: Any = JournalLock(journal)
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))


@contextlib.contextmanager
def _journal_errors(folder: Path) -> Iterator[None]:
    """Errors of a damaged journal, and of a full disk, as one line."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, AssertionError) as error:
        if (full := full_disk(error)) is not None:
            raise write_error(folder / _JOURNAL, full) from None
        raise StoreError(
            f"{folder / _JOURNAL}: cannot be used ({first_line(error)}); move it away to start again"
        ) from None

"""The outcome of a tuning: its winner, the spread of its trials, and what chance gives the best of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlbench.errors import TrainingError
from mlbench.planning.document import flow_text
from mlbench.records.record import Estimate, Record
from mlbench.records.store import Store
from mlbench.seeding import numpy_generator
from mlbench.tuning.noise import Chance, Noise, chance_gain, noise_of_intervals, noise_of_repeats
from mlbench.tuning.trial import Trial, kept_score

__all__ = ["Outcome", "Spread", "read_outcome"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, lower quartile, median, upper quartile and greatest of some values, and how many there are."""

    count: int
    least: float
    lower: float
    median: float
    upper: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value; quartiles by linear interpolation."""
        several = values if len(values) > 1 else [*values, *values]
        lower, median, upper = statistics.quantiles(several, method="inclusive")
        return cls(len(values), min(values), lower, median, upper, max(values))


@dataclass(frozen=True)
class Outcome:
    """facts: of the tuning, as `mlbench.tuning.study.Study` keeps them. trials: by number. records: of trials
    and of repeats, by key. repeats: keys of the records of the case as the suite has it."""

    facts: Mapping[str, Any]
    trials: Sequence[Trial]
    records: Mapping[str, Record] = field(repr=False)
    repeats: Sequence[str] = ()

    @property
    def objective(self) -> str:
        """Name of the quantity by which the winner is chosen."""
        return str(self.facts["section"]["objective"])

    @property
    def higher(self) -> bool:
        """Whether a higher objective is better."""
        return bool(self.facts["higher"])

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials that are done, best first by the calibration split alone; of equal ones the first."""
        done = [trial for trial in self.trials if trial.objective is not None]
        return sorted(done, key=lambda trial: _objective(trial), reverse=self.higher)

    @property
    def winner(self) -> Trial | None:
        """The best trial; None where none is done."""
        return self.ranked[0] if self.ranked else None

    def name(self, trial: Trial) -> str:
        """Name of the case of a trial."""
        return f"{self.facts['section']['case']}+t{trial.number:03}"

    def test(self, trial: Trial) -> Estimate:
        """The objective's quantity on the test split, mean over the seeds of a trial."""
        return self._mean(trial.records)

    def spreads(self) -> dict[str, Spread]:
        """The spread of the trials that are done, on "calibration" and "test"."""
        tested = (self.test(trial).value for trial in self.ranked)
        values = {
            "calibration": [_objective(trial) for trial in self.ranked],
            "test": [each for each in tested if each is not None],
        }
        return {name: Spread.of(each) for name, each in values.items() if each}

    @cached_property
    def default(self) -> dict[str, list[float]]:
        """Values of the case as the suite has it, one for each seed that is done, by split."""
        found: dict[str, list[float]] = {"calibration": [], "test": []}
        for record in self._records(self.repeats):
            try:
                score = kept_score(record)
            except TrainingError:
                continue
            found["calibration"].append(score)
            value = record.metrics[self.objective].value
            if value is not None:
                found["test"].append(value)
        return found

    @cached_property
    def noise(self) -> Noise | None:
        """The noise of an objective; None where nothing shows it."""
        seeds = len(self.facts["section"]["seeds"])
        found = noise_of_repeats(self.default["calibration"], seeds)
        if found is not None:
            return found
        records = [record for trial in self.ranked for record in self._records(trial.records)]
        ends = [record.metrics[self.objective] for record in records]
        widths = [each.high - each.low for each in ends if each.high is not None and each.low is not None]
        if not widths:
            return None
        classes = {name: split["classes"] or 0 for name, split in records[0].data["splits"].items()}
        level = records[0].evaluation["intervals"]["level"]
        return noise_of_intervals(widths, level, classes["test"], classes["calibration"], seeds)

    @cached_property
    def gain(self) -> float:
        """How much better the winner's objective is than the mean of all trials that are done."""
        scores = [_objective(trial) for trial in self.ranked]
        difference = scores[0] - statistics.fmean(scores)
        return difference if self.higher else -difference

    @cached_property
    def chance(self) -> Chance | None:
        """What choosing the best is worth where all trials are equally good; None for fewer than 2 trials,
        and where the noise is not known. A pruned trial was a candidate too; one with the settings of another
        was none."""
        if len(self.ranked) < 2 or self.noise is None:
            return None
        candidates = {
            flow_text(dict(each.values)) for each in self.trials if each.state in ("done", "pruned")
        }
        generator = numpy_generator(self.facts["section"]["seeds"][0], "tune", "chance")
        return chance_gain(self.noise, max(2, len(candidates)), self.gain, generator)

    def optimism(self, trials: Iterable[Trial]) -> float | None:
        """How much better some trials are on calibration than on test, on average; None without a value."""
        pairs = [(_objective(trial), self.test(trial).value) for trial in trials]
        found = [score - value for score, value in pairs if value is not None]
        if not found:
            return None
        return statistics.fmean(found) if self.higher else -statistics.fmean(found)

    def settings(self, trial: Trial) -> dict[str, Any]:
        """What a suite sets to repeat a trial, by key."""
        return {"recipe.select_by": self.objective, **trial.values}

    def _records(self, keys: Iterable[str]) -> list[Record]:
        """Records that are there and done."""
        found = (self.records.get(key) for key in keys)
        return [record for record in found if record is not None and record.status == "done"]

    def _mean(self, keys: Iterable[str]) -> Estimate:
        found = [record.metrics[self.objective] for record in self._records(keys)]
        if not found:
            return Estimate(None)
        value, low, high = (
            _mean([getattr(each, name) for each in found]) for name in ("value", "low", "high")
        )
        return Estimate(value, low, high)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _objective(trial: Trial) -> float:
    assert trial.objective is not None
    return trial.objective


def read_outcome(
    facts: Mapping[str, Any], trials: Sequence[Trial], repeats: Sequence[str], store: Store
) -> Outcome:
    """The outcome of the trials so far, with those of their records that can be read."""
    keys = [*(key for trial in trials for key in trial.records), *repeats]
    found = {key: store.get(key) for key in keys}
    records = {key: record for key, record in found.items() if record is not None}
    return Outcome(facts, trials, records, repeats)

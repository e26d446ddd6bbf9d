"""A trial: its sampled settings and what came of it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.errors import TrainingError
from mlbench.records.record import Record

__all__ = ["Trial", "kept_score"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial. state: "done", "pruned", "failed" or "running". values: by setting. objective: mean of its
    seeds, None where it is not done. scores: of its evaluations, by their number. records: keys of its
    records, one for each seed. error: why it has no objective, "" where it has one."""

    number: int
    state: str
    values: Mapping[str, Any]
    objective: float | None
    scores: Mapping[int, float]
    records: tuple[str, ...]
    error: str = ""


def kept_score(record: Record) -> float:
    """The score on the calibration split of the checkpoint that a record kept. Raises TrainingError where it
    has no value.

    The scores were taken every `recipe.evaluate_every` epochs, and after the last.
    """
    recipe, training = record.settings["recipe"], record.training
    scores = training["curves"][f"calibration_{recipe['select_by']}"]
    every, epochs = recipe["evaluate_every"], recipe["epochs"]
    evaluated = [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]
    score = scores[evaluated.index(training["best_epoch"])]
    if score is None:
        raise TrainingError(f"{recipe['select_by']} had no value on the calibration split")
    value: float = score
    return value

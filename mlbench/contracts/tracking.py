"""Trackers: what receives the events of a run, and the plain data that it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FinishedRun", "TrackedCase", "Tracker"]


@dataclass(frozen=True, slots=True)
class TrackedCase:
    """A case that is trained and evaluated.

    name, seed: what tells it from the other cases of a run. fingerprint: hash of everything that can change
    its result; another one in the record where weights were downloaded meanwhile. axes: its label on each
    axis of the suite's matrix. settings: as in a record, all options of all components. epochs: of its
    recipe. device: its name, such as "cuda:0"."""

    suite: str
    name: str
    seed: int
    fingerprint: str
    axes: Mapping[str, str]
    settings: Mapping[str, Any]
    epochs: int
    device: str


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The end of a run.

    status: "finished", "interrupted" by the user, or "failed" for an error that ended it. records: in the
    plain form of the stored files, with speeds; where the run is finished, of every case of the plan, also of
    those that had a record before and were not run again; else of those cases that were run until then.
    claims: of the suite, as `mlbench claims --json` gives them; empty unless the run is finished."""

    status: Literal["finished", "interrupted", "failed"]
    records: Sequence[Mapping[str, Any]]
    claims: Sequence[Mapping[str, Any]] = ()


class Tracker:
    """Receives the events of a run, one after another, all in one thread that is not the main one.

    Any of these methods may be absent; a class that inherits this one has them all. Whatever a method raises
    switches the tracker off for the rest of the run, with a note, and so does a method that takes longer than
    a minute. What it is given are copies."""

    def case_started(self, case: TrackedCase, position: int, total: int) -> None:
        """A case starts; `position` counts from 1. A case with a finished record is not run and does not
        start."""

    def epoch(self, case: TrackedCase, epoch: int, values: Mapping[str, float]) -> None:
        """An epoch, counted from 1, is trained, and evaluated where the recipe says so.

        values: "loss" and "loss_deviation" (mean and standard deviation over the steps), "loss NAME" of each
        part where there are several, "lr", "seconds" and "images_per_second" of the training steps, and
        "calibration_NAME", the score that selects checkpoints, where it was evaluated."""

    def case_finished(self, record: Mapping[str, Any]) -> None:
        """A case is trained and evaluated, or has failed (status, error). record: in the plain form of the
        stored file. Its speed is measured at the end of the run."""

    def run_finished(self, run: FinishedRun) -> None:
        """The run ends, whatever the reason: the last event, in which files and connections are closed."""

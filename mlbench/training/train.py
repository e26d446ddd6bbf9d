"""The training loop over the batches of a case, and the selection of its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.atomic_write import write_atomically
from mlbench.errors import MlbenchError, TrainingError
from mlbench.planning.plan import Case
from mlbench.records.record import Estimate
from mlbench.seeding import (
    global_states,
    numpy_generator,
    numpy_state,
    set_global_states,
    set_numpy_state,
    torch_seed,
)
from mlbench.training.checkpoint_score import curve_name
from mlbench.training.contract_checks import epoch_batches
from mlbench.training.epoch_losses import EpochLosses
from mlbench.training.feed import Feed, build_batches
from mlbench.training.objective import Objective
from mlbench.training.saved_state import SavedState
from mlbench.training.step import Step, check_finite

__all__ = ["EpochEnd", "Observer", "Training", "train"]


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """What is known after an epoch. number: counted from 1. values: as `mlbench.contracts.Tracker.epoch` gets
    them. score: on the calibration split, None where it was not evaluated."""

    number: int
    values: Mapping[str, float]
    score: Estimate | None


#: Called after each epoch. Ends the training by raising TrainingError.
Observer = Callable[[EpochEnd], None]

#: Share and seconds of training time spent waiting for images, above which there is a note.
WAIT_SHARE, WAIT_SECONDS = 0.25, 2.0


@dataclass
class Training:
    """Results of training: curves, the epoch that was kept, and times.

    curves: the mean of the loss over the steps of every epoch, its standard deviation over them, the learning
    rate, and the score on the calibration split of every evaluation, None where it had no value; where the
    loss has several parts, the mean of each too (see `Objective.values`). waited: seconds spent waiting for
    images to be read. continued: steps at which another process went on from a saved state.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best_epoch: int = 0
    curves: dict[str, list[Any]] = field(default_factory=lambda: {"loss": [], "loss_deviation": [], "lr": []})
    notes: list[str] = field(default_factory=list)
    continued: list[int] = field(default_factory=list)


def train(
    case: Case,
    objective: Objective,
    feed: Feed | None,
    embed: Callable[[], np.ndarray],
    score: Callable[[], Estimate],
    fabric: Fabric,
    folder: Path,
    progress: Callable[[str, int, int], None],
    observe: Observer = lambda end: None,
) -> Training:
    """Train `objective` in place, to the checkpoint that the recipe selects.

    feed: of the train split, None where the recipe has no epochs. embed: embeddings of the train split by the
    current model, for batch samplers that need them. score: of the current model on the calibration split.
    folder: for last.pt, and for best.pt where the recipe selects the best. Raises TrainingError for a loss
    that is not finite; on the CPU, and where the sampler raised it, last.pt then holds the state before the
    step. Raises it too where the recipe selects the best checkpoint and no score had a value, and whatever
    `observe` raises. Where `folder` holds the state of an earlier process (see `SavedState`), training goes
    on from there and, on a deterministic device, ends with the bits of an undisturbed one.
    """
    if feed is None:
        _save(folder / "last.pt", objective, 0)
        return Training(notes=["not trained: recipe.epochs is 0"])
    return _Loop(case, objective, feed, embed, score, fabric, folder).run(progress, observe)


@dataclass
class _Selection:
    """What the checkpoint is selected by. best: the highest score. stale: evaluations since then. kept: the
    model with that score, None where the recipe does not select the best. found: the last score."""

    best: float = float("-inf")
    stale: int = 0
    kept: dict[str, torch.Tensor] | None = None
    found: Estimate = field(default_factory=lambda: Estimate(None))


class _Loop:
    """A training, from its first step or from a saved state to its end."""

    def __init__(
        self,
        case: Case,
        objective: Objective,
        feed: Feed,
        embed: Callable[[], np.ndarray],
        score: Callable[[], Estimate],
        fabric: Fabric,
        folder: Path,
    ) -> None:
        self._case, self._recipe = case, case.recipe
        self._objective, self._feed, self._score = objective, feed, score
        self._fabric, self._folder = fabric, folder
        self._batches = build_batches(case, feed.labels, embed)
        self._total = len(self._batches) * self._recipe.epochs
        self._step = Step(case, objective, fabric, self._total)
        self._labels = torch.from_numpy(feed.labels).to(fabric.device)
        self._selection = _Selection()
        self._idle: list[int] = []  # epochs with a loss of 0
        self._result = Training()
        self._result.curves[curve_name(self._recipe)] = []
        self._saved = SavedState(folder, case.fingerprint, case.spec.compute.save_every)
        self._start, self._waited_before = time.perf_counter(), feed.waited

    def run(self, progress: Callable[[str, int, int], None], observe: Observer) -> Training:
        """See `train`."""
        result, recipe, selection = self._result, self._recipe, self._selection
        state = self._saved.read()
        if state is not None:
            self._restore(state)
        for epoch in range(len(result.curves["loss"]), recipe.epochs):
            values = self._epoch(epoch, state, progress)
            state = None
            last = epoch + 1 == recipe.epochs
            evaluated = last or not (epoch + 1) % recipe.evaluate_every
            if evaluated:
                self._evaluate(epoch)
                if selection.found.value is not None:
                    values[curve_name(recipe)] = selection.found.value
            observe(EpochEnd(epoch + 1, values, selection.found if evaluated else None))
            if evaluated and recipe.patience and selection.stale >= recipe.patience:
                result.notes.append(f"stopped early after epoch {epoch + 1}")
                break
        return self._finished(epoch + 1)

    def _epoch(
        self, epoch: int, state: Mapping[str, Any] | None, progress: Callable[[str, int, int], None]
    ) -> dict[str, float]:
        """Train for an epoch, or for the rest of the one that `state` was saved in. Returns its values."""
        step, feed, result = self._step, self._feed, self._result
        self._objective.train()
        generator = feed.mixing_generator(epoch)
        start = time.perf_counter()
        if state is None:
            order = epoch_batches(
                self._case.spec.parts["batch_sampler"],
                self._batches,
                len(feed.labels),
                self._recipe.batch_size,
                numpy_generator(self._case.seed, "batches", epoch),
            )
            losses, done = EpochLosses(), 0
        else:
            order, losses, done = state["order"], EpochLosses(state["losses"]), state["done"]
            set_numpy_state(generator, state["mixing"])
        what = f"training, epoch {epoch + 1} of {self._recipe.epochs}"
        # Dropout and similar layers draw from torch's global generator.
        with torch_seed(self._case.seed, "epoch", epoch, device=self._fabric.device):
            if state is not None:
                set_global_states(self._fabric.device, state["generators"])
            for at, batch in enumerate(feed.batches(order, self._labels, epoch, done, generator), done + 1):
                try:
                    losses.add(step(batch), self._objective.values)
                except MlbenchError:
                    # The state before the step is unchanged and useful.
                    _save(self._folder / "last.pt", self._objective, epoch)
                    raise
                progress(what, step.count, self._total)
                if self._saved.due():
                    self._save_state(order, at, losses, generator)
        seconds = time.perf_counter() - start
        # Checked once an epoch, as a GPU would have to wait for the check after every step.
        found = losses.read()
        if epoch == 0 and not torch.isfinite(found["loss"][0]):
            step.first.explain()
        check_finite(found["loss"], step.count - len(found["loss"]))
        if not found["loss"].any():
            self._idle.append(epoch + 1)
        group = step.optimizer.param_groups[0]
        values = {name: float(each.mean()) for name, each in found.items()}
        values["loss_deviation"] = float(found["loss"].std(correction=0))
        values["lr"] = group["lr"] / group.get("lr_scale", 1)
        for name, value in values.items():
            result.curves.setdefault(name, []).append(value)
        return {**values, "seconds": seconds, "images_per_second": sum(map(len, order[done:])) / seconds}

    def _evaluate(self, epoch: int) -> None:
        """Evaluate on the calibration split, and keep the model where it is the best."""
        selection, recipe, mean = self._selection, self._recipe, self._step.mean
        with mean.in_place() if mean is not None else nullcontext():
            selection.found = self._score()
            self._result.curves[curve_name(recipe)].append(selection.found.value)
            value = _rank(selection.found)
            better = value > selection.best
            selection.best, selection.stale = (value, 0) if better else (selection.best, selection.stale + 1)
            if better and recipe.select == "best":
                selection.kept = self._objective.model.trained_state()
                self._result.best_epoch = epoch + 1
                _save(self._folder / "best.pt", self._objective, epoch + 1)

    def _finished(self, epochs: int) -> Training:
        """Leave the model with the selected weights. epochs: that were trained."""
        result, recipe, selection = self._result, self._recipe, self._selection
        if self._step.mean is not None:
            self._step.mean.keep()
        result.steps = self._step.count
        _save(self._folder / "last.pt", self._objective, epochs)
        if recipe.select == "best":
            if selection.kept is None:
                raise TrainingError(
                    f"recipe.select_by: {recipe.select_by or 'best F1'} had no value on the calibration "
                    f"split ({selection.found.note}); choose another, or set recipe.select: last"
                )
            self._objective.model.load_trained_state(selection.kept)
        else:
            result.best_epoch = epochs
        self._take_times()
        if self._idle:
            result.notes.append(_idle_note(self._idle, epochs, result.steps))
        result.notes.extend(getattr(self._batches, "notes", ()))
        if result.waited > max(WAIT_SECONDS, WAIT_SHARE * result.seconds):
            share = result.waited / result.seconds
            result.notes.append(
                f"reading images was the bottleneck: {share:.0%} of training was spent waiting for them "
                "(more recipe.workers, or recipe.views so that they are cached)"
            )
        result.notes.extend(self._saved.notes)
        return result

    def _take_times(self) -> None:
        """Add the seconds since the last call, or since the start, to the result."""
        now, waited = time.perf_counter(), self._feed.waited
        self._result.seconds += now - self._start
        self._result.waited += waited - self._waited_before
        self._start, self._waited_before = now, waited

    def _save_state(
        self, order: list[list[int]], done: int, losses: EpochLosses, generator: np.random.Generator
    ) -> None:
        """Save everything that the rest of the training depends on, after `done` steps of an epoch."""
        self._take_times()
        self._saved.write(
            {
                "step": self._step.state(),
                "order": order,
                "done": done,
                "losses": losses.read(),
                "mixing": numpy_state(generator),
                "generators": global_states(self._fabric.device),
                "batches": _state_of(self._batches),
                "selection": {**vars(self._selection), "found": asdict(self._selection.found)},
                "idle": self._idle,
                "result": vars(self._result),
            }
        )

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a saved state."""
        self._step.load(state["step"])
        if hasattr(self._batches, "load_state_dict"):
            self._batches.load_state_dict(state["batches"])
        for name, value in state["selection"].items():
            setattr(self._selection, name, Estimate(**value) if name == "found" else value)
        self._idle = state["idle"]
        for name, value in state["result"].items():
            setattr(self._result, name, value)
        self._result.continued.append(self._step.count)


def _rank(score: Estimate) -> float:
    """A score as a number of which more is better."""
    if score.value is None:
        return float("-inf")
    return score.value if score.higher_is_better else -score.value


def _idle_note(idle: list[int], epochs: int, steps: int) -> str:
    """The note on epochs, counted from 1, in which the loss was 0 in every step."""
    if len(idle) == epochs:
        return (
            f"the loss was 0 in all {steps} steps: it trained nothing; the batches may lack the pairs of "
            "images that it compares (see batch_sampler and recipe.batch_size)"
        )
    return (
        f"the loss was 0 in every step of {len(idle)} of {epochs} epochs, first of epoch {idle[0]}: "
        "it trained nothing there"
    )


def _state_of(batches: Any) -> Any:
    return batches.state_dict() if hasattr(batches, "state_dict") else None


def _save(path: Path, objective: Objective, epoch: int) -> None:
    """Write a checkpoint: the trained part of the model, the losses with their class centres, the epoch."""
    data = {"model": objective.model.trained_state(), **objective.state(), "epoch": epoch}
    # Saved without a copy in memory, as class centres may be large.
    write_atomically(path, partial(torch.save, data))

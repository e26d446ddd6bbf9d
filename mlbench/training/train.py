"""The training loop over the batches of a case, and the selection of its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
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
from mlbench.seeding import generator_state, numpy_generator, set_generator_state, torch_seed
from mlbench.training.checkpoint_score import curve_name
from mlbench.training.contract_checks import epoch_batches
from mlbench.training.epoch_losses import EpochLosses
from mlbench.training.feed import Feed, build_batches
from mlbench.training.first_step import FirstStep
from mlbench.training.model import statistics_kept
from mlbench.training.objective import Batch, Objective
from mlbench.training.optimisation import WeightMean, build_optimizer, build_schedule

__all__ = ["EpochEnd", "Observer", "Step", "Training", "train"]


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

#: Start of the error of torch's batch norm for a single vector, which has no variance.
_ONE_VALUE = "Expected more than 1 value per channel"


@dataclass
class Training:
    """Results of training: curves, the epoch that was kept, and times.

    curves: the mean of the loss over the steps of every epoch, its standard deviation over them, the learning
    rate, and the score on the calibration split of every evaluation, None where it had no value; where the
    loss has several parts, the mean of each too (see `Objective.values`). waited: seconds spent waiting for
    images to be read.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best_epoch: int = 0
    curves: dict[str, list[Any]] = field(default_factory=lambda: {"loss": [], "loss_deviation": [], "lr": []})
    notes: list[str] = field(default_factory=list)


class Step:
    """A training step. total: steps of the schedule. count: steps done. mean: running mean of the weights,
    None where the recipe has none."""

    def __init__(self, case: Case, objective: Objective, fabric: Fabric, total: int) -> None:
        self.count = 0
        self._objective = objective
        self._fabric = fabric
        self.first = FirstStep(case, objective)
        self._clip_norm = case.recipe.clip_norm
        optimizer = build_optimizer(objective, case)
        self._schedule = build_schedule(optimizer, case.recipe, total)
        self._module, self.optimizer = fabric.setup(objective, optimizer)
        parts = case.spec.compute.accumulate
        self._gradients = partial(_in_parts, parts=parts) if parts > 1 else _whole
        self.mean = WeightMean(objective.model, case.recipe.ema) if case.recipe.ema else None

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Update the weights by one batch and return its loss.

        Raises TrainingError, before any update, for a batch (or part of one) that batch norm cannot
        normalise and, on the CPU, for a loss that is not finite. On a GPU that check would wait for every
        step. The first step raises PluginError as `FirstStep` does.
        """
        # The middle of the step, so that neither the first nor the last has a rate of zero.
        self._schedule.step_update(self.count + 0.5)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with self.first.watching() if self.count == 0 else nullcontext():
                loss = self._gradients(self._objective, batch, self._fabric, self.count)
        except TrainingError:
            if self.count == 0:
                self.first.explain()
            raise
        except ValueError as error:
            if _ONE_VALUE not in str(error):
                raise
            raise TrainingError(
                f"batch norm cannot normalise one image alone, and step {self.count + 1} has one in its "
                f"batch of {len(batch.images)} or in a part of it; raise recipe.batch_size, or change "
                "compute.accumulate"
            ) from None
        if self._clip_norm:
            self._fabric.clip_gradients(
                self._module, self.optimizer, max_norm=self._clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
        self.count += 1
        return loss


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
    `observe` raises.
    """
    recipe = case.recipe
    model = objective.model
    if feed is None:
        _save(folder / "last.pt", objective, 0)
        return Training(notes=["not trained: recipe.epochs is 0"])
    batches = build_batches(case, feed.labels, embed)
    total = len(batches) * recipe.epochs
    step = Step(case, objective, fabric, total)
    labels = torch.from_numpy(feed.labels).to(fabric.device)

    result = Training()
    scores = result.curves[curve_name(recipe)] = []
    kept = None
    idle: list[int] = []
    best, stale = float("-inf"), 0
    start, waited_before = time.perf_counter(), feed.waited
    for epoch in range(recipe.epochs):
        objective.train()
        order = epoch_batches(
            case.spec.parts["batch_sampler"],
            batches,
            len(feed.labels),
            recipe.batch_size,
            numpy_generator(case.seed, "batches", epoch),
        )
        losses, epoch_start = EpochLosses(), time.perf_counter()
        what = f"training, epoch {epoch + 1} of {recipe.epochs}"
        # Dropout and similar layers draw from torch's global generator.
        with torch_seed(case.seed, "epoch", epoch, device=fabric.device):
            for batch in feed.batches(order, labels, epoch):
                try:
                    losses.add(step(batch), objective.values)
                except MlbenchError:
                    # The state before the step is unchanged and useful.
                    _save(folder / "last.pt", objective, epoch)
                    raise
                progress(what, step.count, total)
        # Checked once an epoch, as a GPU would have to wait for the check after every step.
        found_losses = losses.read()
        epoch_losses = found_losses["loss"]
        seconds = time.perf_counter() - epoch_start
        if epoch == 0 and not torch.isfinite(epoch_losses[0]):
            step.first.explain()
        _check_finite(epoch_losses, step.count - len(epoch_losses))
        if not epoch_losses.any():
            idle.append(epoch + 1)
        for name, each in found_losses.items():
            result.curves.setdefault(name, []).append(float(each.mean()))
        result.curves["loss_deviation"].append(float(epoch_losses.std(correction=0)))
        group = step.optimizer.param_groups[0]
        result.curves["lr"].append(group["lr"] / group.get("lr_scale", 1))
        values = {name: result.curves[name][-1] for name in (*found_losses, "loss_deviation", "lr")}
        values |= {"seconds": seconds, "images_per_second": sum(map(len, order)) / seconds}
        last = epoch + 1 == recipe.epochs
        if not last and (epoch + 1) % recipe.evaluate_every:
            observe(EpochEnd(epoch + 1, values, None))
            continue
        with step.mean.in_place() if step.mean is not None else nullcontext():
            found = score()
            scores.append(found.value)
            value = _rank(found)
            best, stale = (value, 0) if value > best else (best, stale + 1)
            if stale == 0 and recipe.select == "best":
                kept, result.best_epoch = model.trained_state(), epoch + 1
                _save(folder / "best.pt", objective, epoch + 1)
        if found.value is not None:
            values[curve_name(recipe)] = found.value
        observe(EpochEnd(epoch + 1, values, found))
        if recipe.patience and stale >= recipe.patience:
            result.notes.append(f"stopped early after epoch {epoch + 1}")
            break
    if step.mean is not None:
        step.mean.keep()
    result.steps = step.count
    _save(folder / "last.pt", objective, epoch + 1)
    if recipe.select == "best":
        if kept is None:
            raise TrainingError(
                f"recipe.select_by: {recipe.select_by or 'best F1'} had no value on the calibration split "
                f"({found.note}); choose another, or set recipe.select: last"
            )
        model.load_trained_state(kept)
    else:
        result.best_epoch = epoch + 1
    result.seconds = time.perf_counter() - start
    result.waited = feed.waited - waited_before
    if idle:
        result.notes.append(_idle_note(idle, epoch + 1, step.count))
    result.notes.extend(getattr(batches, "notes", ()))
    if result.waited > max(WAIT_SECONDS, WAIT_SHARE * result.seconds):
        share = result.waited / result.seconds
        result.notes.append(
            f"reading images was the bottleneck: {share:.0%} of training was spent waiting for them "
            "(more recipe.workers, or recipe.views so that they are cached)"
        )
    return result


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


def _whole(objective: Objective, batch: Batch, fabric: Fabric, step: int) -> torch.Tensor:
    """Compute the gradients of a batch. Returns its loss."""
    with fabric.autocast():
        loss: torch.Tensor = objective(batch)
    if fabric.device.type == "cpu":
        _check_finite(loss.detach().view(1), step)
    fabric.backward(loss)
    return loss.detach()


def _in_parts(objective: Objective, batch: Batch, fabric: Fabric, step: int, *, parts: int) -> torch.Tensor:
    """As `_whole`, with one part of the batch in the model at a time (arXiv:2101.06983).

    All parts are embedded without gradients; the loss of all embeddings gives the gradient of each; a second
    pass of each part propagates its gradient to the weights. The second pass has the same random draws, and
    does not update the running statistics of norms.
    """
    model = objective.model
    images = batch.images.chunk(parts)
    states = []
    embeddings = []
    with torch.no_grad(), fabric.autocast():
        for part in images:
            states.append(generator_state(fabric.device))
            embeddings.append(model.embed(part).float())
    together = torch.cat(embeddings).requires_grad_()
    with fabric.autocast():
        loss = objective.loss(together, batch)
    if fabric.device.type == "cpu":
        _check_finite(loss.detach().view(1), step)
    fabric.backward(loss)
    assert together.grad is not None
    after = generator_state(fabric.device)
    with statistics_kept(model):
        for part, state, gradient in zip(images, states, together.grad.chunk(parts), strict=True):
            set_generator_state(fabric.device, state)
            with fabric.autocast():
                again = model.embed(part)
            if again.requires_grad:
                torch.autograd.backward(again, gradient.to(again.dtype))
    set_generator_state(fabric.device, after)
    return loss.detach()


def _check_finite(losses: torch.Tensor, first_step: int) -> None:
    bad = (~torch.isfinite(losses)).nonzero().flatten()
    if len(bad):
        raise TrainingError(
            f"the loss is {losses[bad[0]].item()} at step {first_step + int(bad[0]) + 1}; "
            "lower recipe.lr, or set recipe.clip_norm"
        )


def _save(path: Path, objective: Objective, epoch: int) -> None:
    """Write a checkpoint: the trained part of the model, the losses with their class centres, the epoch."""
    data = {"model": objective.model.trained_state(), **objective.state(), "epoch": epoch}
    # Saved without a copy in memory, as class centres may be large.
    write_atomically(path, partial(torch.save, data))

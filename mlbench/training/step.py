"""A training step: the gradients of a batch, and the update of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric

from mlbench.errors import TrainingError
from mlbench.planning.plan import Case
from mlbench.seeding import generator_state, set_generator_state
from mlbench.training.first_step import FirstStep
from mlbench.training.model import statistics_kept
from mlbench.training.objective import Batch, Objective
from mlbench.training.optimisation import WeightMean, build_optimizer, build_schedule

__all__ = ["Step", "check_finite"]

#: Start of the error of torch's batch norm for a single vector, which has no variance.
_ONE_VALUE = "Expected more than 1 value per channel"


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

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on besides their batches, the weights included."""
        return {
            "count": self.count,
            "model": self._objective.model.trained_state(),
            "objective": self._objective.state(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self._fabric.strategy.precision.state_dict(),
            "mean": None if self.mean is None else self.mean.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Load the output of `state`."""
        self.count = state["count"]
        self._objective.model.load_trained_state(state["model"])
        self._objective.load(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._fabric.strategy.precision.load_state_dict(state["precision"])
        if self.mean is not None:
            self.mean.load(state["mean"])

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


def _whole(objective: Objective, batch: Batch, fabric: Fabric, step: int) -> torch.Tensor:
    """Compute the gradients of a batch. Returns its loss."""
    with fabric.autocast():
        loss: torch.Tensor = objective(batch)
    if fabric.device.type == "cpu":
        check_finite(loss.detach().view(1), step)
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
        check_finite(loss.detach().view(1), step)
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


def check_finite(losses: torch.Tensor, first_step: int) -> None:
    """Raise TrainingError for a loss that is not finite. losses: (steps,). first_step: number of the first,
    from 0."""
    bad = (~torch.isfinite(losses)).nonzero().flatten()
    if len(bad):
        raise TrainingError(
            f"the loss is {losses[bad[0]].item()} at step {first_step + int(bad[0]) + 1}; "
            "lower recipe.lr, or set recipe.clip_norm"
        )

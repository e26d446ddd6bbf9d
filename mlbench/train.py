"""Training: one short loop over the batches of a case, and the checkpoint that is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import timm.optim
import timm.scheduler
import torch
from lightning_fabric import Fabric
from torch import nn

from mlbench.contracts import BatchSampler, CentreLoss, CentreSampler, PairLoss, Recipe, RowSampler
from mlbench.errors import OptionError, TrainingError, hint
from mlbench.features import Inputs
from mlbench.model import EmbeddingModel
from mlbench.plan import Case, check_sampler
from mlbench.seeding import derive, numpy_generator, torch_seed
from mlbench.store import write_atomically

__all__ = ["Objective", "Training", "build_loss", "build_objective", "check_recipe", "train"]

#: Above this share of training time spent waiting for images, and this many seconds, the run says so.
WAIT_SHARE, WAIT_SECONDS = 0.25, 2.0


class Objective(nn.Module):
    """Inputs and labels to the scalar that training makes small: model, loss, and class centres if any."""

    def __init__(
        self, model: EmbeddingModel, loss: CentreLoss | PairLoss, centres: CentreSampler | None
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.centres = centres

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """inputs: what `EmbeddingModel.encode` gives; labels: (N,) int64."""
        embeddings = self.model.embed(inputs)
        if self.centres is None:
            return self.loss(embeddings, labels)  # type: ignore[operator]
        return self.centres(embeddings, labels, self.loss)  # type: ignore[arg-type]


@dataclass
class Training:
    """What training a case left: curves, the epoch that was kept, and where time went.

    curves: loss and learning rate of every epoch, F1 on the calibration split of every evaluation.
    waited: seconds spent waiting for images to be read.
    """

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    best_epoch: int = 0
    curves: dict[str, list[float]] = field(
        default_factory=lambda: {"loss": [], "lr": [], "calibration_f1": []}
    )
    notes: list[str] = field(default_factory=list)


def build_loss(case: Case, dim: int) -> CentreLoss | PairLoss:
    """The loss of a case for embeddings of `dim` numbers.

    Raises ComponentError when it has class centres and the case no sampler.
    """
    with torch_seed(case.seed, "loss"):
        loss: CentreLoss | PairLoss = case.spec.parts["loss"].build(
            num_classes=case.forecast.classes, dim=dim
        )
    if isinstance(loss, CentreLoss):
        check_sampler(case.spec.parts)
    return loss


def build_objective(case: Case, model: EmbeddingModel) -> Objective:
    """The objective of a case around its model."""
    loss = build_loss(case, model.neck.dim)
    if not isinstance(loss, CentreLoss):
        return Objective(model, loss, None)
    with torch_seed(case.seed, "centres"):
        centres = case.spec.parts["sampler"].build(
            num_classes=case.forecast.classes,
            dim=model.neck.dim,
            centres_per_class=loss.centres_per_class,
            batch_size=case.recipe.batch_size,
            batch_labels=case.forecast.batch_labels,
            seed=derive(case.seed, "sampler"),
        )
    return Objective(model, loss, centres)


def check_recipe(recipe: Recipe) -> None:
    """Raise OptionError for an optimiser that timm does not know."""
    known = timm.optim.list_optimizers()
    if recipe.optimizer not in known:
        raise OptionError(
            f"unknown optimizer {recipe.optimizer!r} ({hint(recipe.optimizer, known)})", "optimizer"
        )


def train(
    case: Case,
    objective: Objective,
    inputs: Inputs,
    score: Callable[[], float],
    fabric: Fabric,
    folder: Path,
    progress: Callable[[str, int, int], None],
) -> Training:
    """Train `objective` in place, to the checkpoint that the recipe selects.

    inputs: of the train split. score: the model's score on the calibration split, higher is better.
    folder: last.pt is written there, and best.pt where the recipe selects the best. Raises TrainingError
    when the loss is no longer finite; on the CPU, and where the sampler says so, last.pt then holds the
    state of the step before.
    """
    recipe = case.recipe
    batches: BatchSampler = case.spec.parts["batch_sampler"].build(
        labels=inputs.labels, batch_size=recipe.batch_size
    )
    total = len(batches) * recipe.epochs
    optimizer = _optimizer(objective, recipe)
    schedule = _schedule(optimizer, recipe, total)
    module, optimizer = fabric.setup(objective, optimizer)
    model = objective.model
    labels = torch.from_numpy(inputs.labels).to(fabric.device)

    result = Training()
    best, stale = float("-inf"), 0
    start, waited_before = time.perf_counter(), inputs.waited
    for epoch in range(recipe.epochs):
        module.train()
        order = list(batches.batches(numpy_generator(case.seed, "batches", epoch)))
        losses = []
        # Dropout and the like draw from torch's global generator.
        with torch_seed(case.seed, "epoch", epoch, device=fabric.device):
            for indices, batch in zip(order, inputs.batches(order, epoch), strict=True):
                # The middle of the step, so that neither the first nor the last has a rate of zero.
                schedule.step_update(result.steps + 0.5)
                optimizer.zero_grad(set_to_none=True)
                try:
                    loss = module(batch, labels[torch.as_tensor(indices)])
                    if fabric.device.type == "cpu":
                        _check_finite(loss.detach().view(1), result.steps)
                except TrainingError:
                    # Nothing has changed since the step before: that state is worth keeping.
                    _save(folder / "last.pt", model.trained_state(), objective, epoch)
                    raise
                fabric.backward(loss)
                if recipe.clip_norm:
                    fabric.clip_gradients(
                        module, optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False
                    )
                optimizer.step()
                losses.append(loss.detach())
                result.steps += 1
                progress("training", result.steps, total)
        # Here for a GPU, which would have to wait for the answer after every step.
        epoch_losses = torch.stack(losses).float().cpu()
        _check_finite(epoch_losses, result.steps - len(losses))
        result.curves["loss"].append(float(epoch_losses.mean()))
        result.curves["lr"].append(optimizer.param_groups[0]["lr"])
        last = epoch + 1 == recipe.epochs
        if not last and (epoch + 1) % recipe.evaluate_every:
            continue
        value = score()
        result.curves["calibration_f1"].append(value)
        best, stale = (value, 0) if value > best else (best, stale + 1)
        if stale == 0 and recipe.select == "best":
            kept, result.best_epoch = model.trained_state(), epoch + 1
            _save(folder / "best.pt", kept, objective, epoch + 1)
        if recipe.patience and stale >= recipe.patience:
            result.notes.append(f"stopped early after epoch {epoch + 1}")
            break
    _save(folder / "last.pt", model.trained_state(), objective, epoch + 1)
    if recipe.select == "best":
        model.load_trained_state(kept)
    else:
        result.best_epoch = epoch + 1
    result.seconds = time.perf_counter() - start
    result.waited = inputs.waited - waited_before
    if result.waited > max(WAIT_SECONDS, WAIT_SHARE * result.seconds):
        share = result.waited / result.seconds
        result.notes.append(
            f"reading images was the bottleneck: {share:.0%} of training was spent waiting for them "
            "(more recipe.workers, or recipe.views so that they are cached)"
        )
    return result


def _optimizer(objective: Objective, recipe: Recipe) -> torch.optim.Optimizer:
    decay = recipe.weight_decay
    modules = [objective.model] + ([objective.loss] if isinstance(objective.loss, nn.Module) else [])
    groups = [
        {**group, "name": "model"}
        for module in modules
        for group in timm.optim.param_groups_weight_decay(module, decay)
    ]
    rows = objective.centres if isinstance(objective.centres, RowSampler) else None
    if objective.centres is not None:
        centres = [rows.stand_in] if rows is not None else list(objective.centres.parameters())
        groups.append(
            {"params": centres, "lr": recipe.lr * recipe.centre_lr, "weight_decay": decay, "name": "centres"}
        )
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise TrainingError("nothing to train: the whole model is frozen and the loss has no parameters")
    extra = {
        name: value
        for name, value in (("betas", recipe.betas), ("momentum", recipe.momentum))
        if value is not None
    }
    optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
        groups, opt=recipe.optimizer, lr=recipe.lr, weight_decay=decay, **extra
    )
    if rows is not None:
        _update_along(optimizer, rows)
    return optimizer


def _update_along(optimizer: torch.optim.Optimizer, sampler: RowSampler) -> None:
    """Have `sampler` update its centres with every step that `optimizer` takes, at the rates of that step.

    A hook, because only the optimiser knows whether loss scaling lets it take the step.
    """

    def update(*_: object) -> None:
        (group,) = (group for group in optimizer.param_groups if group["name"] == "centres")
        sampler.update(group["lr"], group["weight_decay"])

    optimizer.register_step_post_hook(update)


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total: int
) -> timm.scheduler.scheduler.Scheduler:
    warmup = round(recipe.warmup * total)
    common = {"warmup_t": warmup, "warmup_prefix": True, "t_in_epochs": False}
    rest = max(total - warmup, 1)
    if recipe.schedule == "cosine":
        return timm.scheduler.CosineLRScheduler(optimizer, rest, lr_min=recipe.min_lr, **common)
    if recipe.schedule == "linear":
        return timm.scheduler.PolyLRScheduler(optimizer, rest, power=1.0, lr_min=recipe.min_lr, **common)
    return timm.scheduler.StepLRScheduler(optimizer, decay_t=rest, decay_rate=1.0, **common)


def _check_finite(losses: torch.Tensor, first_step: int) -> None:
    bad = (~torch.isfinite(losses)).nonzero().flatten()
    if len(bad):
        raise TrainingError(
            f"the loss is {losses[bad[0]].item()} at step {first_step + int(bad[0]) + 1}; "
            "lower recipe.lr, or set recipe.clip_norm"
        )


def _save(path: Path, state: dict[str, torch.Tensor], objective: Objective, epoch: int) -> None:
    """Write a checkpoint: the trained part of the model, the class centres, the loss, the epoch."""
    centres = objective.centres.state_dict() if objective.centres is not None else {}
    loss = objective.loss.state_dict() if isinstance(objective.loss, nn.Module) else {}
    data = {"model": state, "centres": centres, "loss": loss, "epoch": epoch}
    # Centres may be larger than all else in memory: straight into the file.
    write_atomically(path, partial(torch.save, data))

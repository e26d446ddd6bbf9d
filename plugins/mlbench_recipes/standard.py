"""The recipe in which every number is an option."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from mlbench.contracts import Recipe
from mlbench.errors import OptionError

__all__ = ["standard"]

_NotNegative = Annotated[float, Field(ge=0)]
_Beta = Annotated[float, Field(ge=0, lt=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


def standard(
    *,
    epochs: Annotated[int, Field(ge=0)] = 10,
    batch_size: Annotated[int, Field(ge=1)] = 128,
    optimizer: str = "adamw",
    lr: Annotated[float, Field(gt=0)] = 1e-3,
    weight_decay: _NotNegative = 1e-3,
    betas: tuple[_Beta, _Beta] | None = None,
    momentum: _Beta | None = None,
    centre_lr: Annotated[float, Field(gt=0)] = 1.0,
    optimizer_options: Mapping[str, Any] = {},
    schedule: Literal["cosine", "linear", "step", "constant"] = "linear",
    milestones: tuple[_Share, ...] = (),
    decay_rate: _Share = 0.1,
    min_lr: _NotNegative = 0.0,
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    clip_norm: _NotNegative = 5.0,
    views: Annotated[int, Field(ge=0)] = 0,
    patience: Annotated[int, Field(ge=0)] = 0,
    evaluate_every: Annotated[int, Field(ge=1)] = 1,
    select: Literal["best", "last"] = "best",
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    workers: Annotated[int, Field(ge=0)] | None = None,
) -> Recipe:
    """A recipe with these values (see `mlbench.contracts.Recipe`).

    Options
    -------
    epochs: passes over the training images; 0 to evaluate the model as it starts.
    batch_size: images in a step.
    optimizer: its timm name.
    lr: highest learning rate.
    weight_decay: of all weights but biases and norms.
    betas: of Adam and its kin; null for the optimiser's default.
    momentum: of SGD and its kin; null for the optimiser's default.
    centre_lr: learning rate, as a multiple of lr, of the class centres, and of all that a loss itself trains:
        proxies, the rows of a linear classifier, learnt margins.
    optimizer_options: further arguments of timm's optimiser, such as {max_grad_norm: null} for lamb.
    schedule: how the learning rate falls after the warm-up: cosine, linear, step or constant.
    milestones: shares of all steps, rising, at which step multiplies the rate by decay_rate.
    decay_rate: what the rate is multiplied by at each milestone.
    min_lr: where it falls to; at most lr.
    warmup: share of all steps in which it rises from 0.
    clip_norm: largest norm of the gradient; 0 for no limit.
    views: augmented views of each image, shown in turn; 0 for a new one every epoch.
    patience: stop after so many evaluations without a better score; 0 to train to the end.
    evaluate_every: epochs from one evaluation on the calibration split to the next.
    select: keep the weights that scored best on the calibration split, or the last.
    ema: decay of the running mean of the weights that is kept in their stead; 0 for none.
    workers: processes that read images; null to choose by the machine.

    Raises OptionError if min_lr is above lr or the schedule does not fall to it, if optimizer_options repeats
    another option, if milestones do not rise or lie in the warm-up, and if milestones and schedule do not
    belong together.
    """
    if min_lr > lr:
        raise OptionError(f"recipe: min_lr {min_lr:g} is above lr {lr:g}; expected at most lr", "min_lr")
    if min_lr and schedule not in ("cosine", "linear"):
        raise OptionError(
            f"recipe: schedule {schedule!r} does not fall to min_lr {min_lr:g}; set min_lr: 0, or schedule: "
            "cosine or linear",
            "min_lr",
        )
    for name in ("lr", "weight_decay", "betas", "momentum"):
        if name in optimizer_options:
            raise OptionError(
                f"recipe: optimizer_options holds {name!r}; say recipe.{name} instead", "optimizer_options"
            )
    _check_milestones(schedule, milestones, warmup)
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        betas=betas,
        momentum=momentum,
        centre_lr=centre_lr,
        optimizer_options=optimizer_options,
        schedule=schedule,
        milestones=milestones,
        decay_rate=decay_rate,
        min_lr=min_lr,
        warmup=warmup,
        clip_norm=clip_norm,
        views=views,
        patience=patience,
        evaluate_every=evaluate_every,
        select=select,
        ema=ema,
        workers=workers,
    )


def _check_milestones(schedule: str, milestones: tuple[float, ...], warmup: float) -> None:
    shown = ", ".join(f"{share:g}" for share in milestones)
    if milestones and schedule != "step":
        problem = f"schedule {schedule!r} has none; set schedule: step, or milestones: []"
    elif schedule == "step" and not milestones:
        problem = "schedule 'step' needs at least one, as in milestones: [0.5, 0.75]"
    elif any(later <= earlier for earlier, later in pairwise(milestones)):
        problem = "each must be above the one before"
    elif milestones and milestones[0] < warmup:
        problem = f"the first lies in the warm-up, which ends at {warmup:g}; raise it, or lower warmup"
    else:
        return
    raise OptionError(f"recipe: milestones [{shown}]: {problem}", "milestones")

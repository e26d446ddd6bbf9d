"""The recipe in which every number is an option."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlbench.contracts import Recipe
from mlbench.errors import OptionError

__all__ = ["standard"]

_NotNegative = Annotated[float, Field(ge=0)]
_Beta = Annotated[float, Field(ge=0, lt=1)]


def standard(
    *,
    epochs: Annotated[int, Field(ge=1)] = 10,
    batch_size: Annotated[int, Field(ge=1)] = 128,
    optimizer: str = "adamw",
    lr: Annotated[float, Field(gt=0)] = 1e-3,
    weight_decay: _NotNegative = 1e-3,
    betas: tuple[_Beta, _Beta] | None = None,
    momentum: _Beta | None = None,
    centre_lr: Annotated[float, Field(gt=0)] = 1.0,
    schedule: Literal["cosine", "linear", "constant"] = "linear",
    min_lr: _NotNegative = 0.0,
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    clip_norm: _NotNegative = 5.0,
    views: Annotated[int, Field(ge=0)] = 0,
    patience: Annotated[int, Field(ge=0)] = 0,
    evaluate_every: Annotated[int, Field(ge=1)] = 1,
    select: Literal["best", "last"] = "best",
    workers: Annotated[int, Field(ge=0)] | None = None,
) -> Recipe:
    """A recipe with these values (see `mlbench.contracts.Recipe`).

    Options
    -------
    epochs: passes over the training images.
    batch_size: images in a step.
    optimizer: its timm name.
    lr: highest learning rate.
    weight_decay: of all weights but biases and norms.
    betas: of Adam and its kin; null for the optimiser's default.
    momentum: of SGD and its kin; null for the optimiser's default.
    centre_lr: learning rate of the class centres, as a multiple of lr.
    schedule: how the learning rate falls after the warm-up: cosine, linear or constant.
    min_lr: where it falls to; at most lr.
    warmup: share of all steps in which it rises from 0.
    clip_norm: largest norm of the gradient; 0 for no limit.
    views: augmented views of each image, shown in turn; 0 for a new one every epoch.
    patience: stop after so many evaluations without a better score; 0 to train to the end.
    evaluate_every: epochs from one evaluation on the calibration split to the next.
    select: keep the weights that scored best on the calibration split, or the last.
    workers: processes that read images; null to choose by the machine.

    Raises OptionError if min_lr is above lr.
    """
    if min_lr > lr:
        raise OptionError(
            f"recipe standard: min_lr {min_lr:g} is above lr {lr:g}; expected at most lr", "min_lr"
        )
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        betas=betas,
        momentum=momentum,
        centre_lr=centre_lr,
        schedule=schedule,
        min_lr=min_lr,
        warmup=warmup,
        clip_norm=clip_norm,
        views=views,
        patience=patience,
        evaluate_every=evaluate_every,
        select=select,
        workers=workers,
    )

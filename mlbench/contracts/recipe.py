"""The recipe: how a case is trained."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mlbench.contracts.base import Options
from mlbench.errors import OptionError, hint

__all__ = ["TRAINED_PARTS", "Recipe"]

#: Parts of a case that are trained, as `Recipe.lr_factors` names them.
TRAINED_PARTS = ("backbone", "neck", "loss", "sampler", "distiller")

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Beta = Annotated[float, Field(ge=0, lt=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class Recipe(Options):
    """How a case is trained: optimiser, schedule and length. Optimisers are timm's, by their timm names.

    A recipe is its own options; a preset is a subclass with other defaults. Biases and norms are not decayed.
    The class centres, and all that a loss trains itself (proxies, rows of a linear classifier, learnt
    margins), have the learning rate lr * centre_lr throughout the schedule; weights among them are decayed as
    the model's are. Factors of lr_factors, and those that a component states itself, come on top.

    Raises OptionError where min_lr is above lr or the schedule does not fall to it, where optimizer_options
    repeats another option, where lr_factors names no part, and where milestones do not rise, lie in the
    warm-up or do not belong to the schedule."""

    # What is left changes the work of a step: its batch, the optimiser, clipping and the running mean.
    speed_neutral: ClassVar[frozenset[str]] = frozenset(
        {
            *("epochs", "lr", "weight_decay", "betas", "centre_lr", "schedule", "milestones", "decay_rate"),
            *("min_lr", "warmup", "patience", "evaluate_every", "select", "select_by", "workers"),
            "lr_factors",
        }
    )

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training images; 0 to evaluate the model as it starts."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images in a step."""
    optimizer: str = "adamw"
    """timm name of the optimiser."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Highest learning rate."""
    weight_decay: _NotNegative = 1e-3
    """Weight decay of all weights but biases and norms."""
    betas: tuple[_Beta, _Beta] | None = None
    """Betas of Adam and its variants; null for the optimiser's default."""
    momentum: _Beta | None = None
    """Momentum of SGD and its variants; null for the optimiser's default."""
    centre_lr: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of class centres and of a loss's own parameters, as a multiple of lr."""
    lr_factors: Mapping[str, _Positive] = {}
    """Learning rates of parts as multiples of the rate that they would have, such as {backbone: 0.1, neck:
    10}; of backbone, neck, loss (its own parameters), sampler (class centres) and distiller."""
    optimizer_options: Mapping[str, Any] = {}
    """Further arguments of timm's optimiser, such as {max_grad_norm: null} for lamb."""
    schedule: Literal["cosine", "linear", "step", "constant"] = "linear"
    """How the learning rate falls after the warm-up, step by step."""
    milestones: tuple[_Share, ...] = ()
    """Shares of all steps, rising, at which schedule step multiplies the rate by decay_rate."""
    decay_rate: _Share = 0.1
    """Factor of the learning rate at each milestone."""
    min_lr: _NotNegative = 0.0
    """Last learning rate of a cosine or linear schedule; at most lr."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps in which the rate rises from 0."""
    clip_norm: _NotNegative = 5.0
    """Largest norm of the gradient; 0 for no limit."""
    views: Annotated[int, Field(ge=0)] = 0
    """Augmented views of each image, shown in turn by epoch; 0 for a new one every epoch."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many evaluations without a better score; 0 to train to the end."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations on the calibration split."""
    select: Literal["best", "last"] = "best"
    """Keep the weights with the best score on the calibration split, or the last."""
    select_by: str = ""
    """The score: a quantity of the case's metrics that has a better direction, at the threshold that the
    case's policy fits on the calibration split. Empty for the best F1 of any threshold."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the running mean of the weights, which replaces them in evaluation; 0 for none."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that read images; null to choose by the machine."""

    def build(self) -> Recipe:
        """The recipe. A subclass with other options returns a plain one."""
        return self

    @model_validator(mode="after")
    def _options_fit_together(self) -> Self:
        if self.min_lr > self.lr:
            raise OptionError(
                f"recipe: min_lr {self.min_lr:g} is above lr {self.lr:g}; expected at most lr", "min_lr"
            )
        if self.min_lr and self.schedule not in ("cosine", "linear"):
            raise OptionError(
                f"recipe: schedule {self.schedule!r} does not fall to min_lr {self.min_lr:g}; set min_lr: 0, "
                "or schedule: cosine or linear",
                "min_lr",
            )
        for name in ("lr", "weight_decay", "betas", "momentum"):
            if name in self.optimizer_options:
                raise OptionError(
                    f"recipe: optimizer_options has {name!r}; set recipe.{name} instead", "optimizer_options"
                )
        for name in self.lr_factors:
            if name not in TRAINED_PARTS:
                known = hint(name, TRAINED_PARTS)
                raise OptionError(f"recipe: lr_factors has no part {name!r} ({known})", "lr_factors")
        if problem := self._milestones_problem():
            shown = ", ".join(f"{share:g}" for share in self.milestones)
            raise OptionError(f"recipe: milestones [{shown}]: {problem}", "milestones")
        return self

    def _milestones_problem(self) -> str:
        if self.milestones and self.schedule != "step":
            return f"schedule {self.schedule!r} has none; set schedule: step, or milestones: []"
        if self.schedule == "step" and not self.milestones:
            return "schedule 'step' needs at least one, as in milestones: [0.5, 0.75]"
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            return "each must be above the one before"
        if self.milestones and self.milestones[0] < self.warmup:
            return f"the first lies in the warm-up, which ends at {self.warmup:g}; raise it, or lower warmup"
        return ""

"""Class centres that take part in a training step: all of them, or a random share."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from mlbench.plugin import (
    Advice,
    CentresShape,
    HeadContext,
    OptionError,
    SamplerContext,
    SamplerOptions,
)

if TYPE_CHECKING:
    from mlbench_samplers.class_centres import ClassCentres
    from mlbench_samplers.sampled_centres import SampledCentres

__all__ = ["AllCentres", "PartialFC"]

#: Rates that `advise` compares where the options have no size.
_RATES = (0.5, 0.3, 0.1, 0.03, 0.01)

_Beta = Annotated[float, Field(ge=0, lt=1)]


def _parameters(context: SamplerContext) -> int:
    return context.num_classes * context.centres_per_class * context.dim


class AllCentres(SamplerOptions):
    """Every class centre takes part in every step: the plain classification head."""

    def predict(self, context: SamplerContext) -> CentresShape:
        return CentresShape(_parameters(context))

    def build(self, context: SamplerContext) -> ClassCentres:
        from mlbench_samplers.class_centres import ClassCentres

        return ClassCentres(context.num_classes, context.dim, context.centres_per_class)


class PartialFC(SamplerOptions):
    """The class centres of the batch and random others in each step, with an optimiser that changes no other
    centre (PartialFC, An et al., arXiv:2010.05222, arXiv:2203.15565).

    Time and memory of a step grow with the number of centres that take part, not with the number of classes
    (`mlbench advise partial-fc` predicts both). Learning rate and weight decay are the recipe's in every
    step. The optimiser is an option here because the recipe's optimiser cannot skip rows.

    Raises OptionError unless exactly one of rate and centres is given, and if a batch could hold more classes
    than there are centres in a step, which would leave no negatives.
    """

    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the classes whose centres take part in a step, in (0, 1]; this or centres."""
    centres: Annotated[int, Field(ge=1)] | None = None
    """Number of classes whose centres take part in a step; this or rate."""
    optimizer: Literal["adamw", "sgd", "momentum"] = "adamw"
    """Optimiser of the centres, by its timm name: adamw, sgd (with Nesterov momentum) or momentum."""
    momentum: _Beta = 0.9
    """Momentum of sgd and momentum."""
    betas: tuple[_Beta, _Beta] = (0.9, 0.999)
    """Betas of adamw."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the stored centres and of their optimiser's state; bfloat16 halves the memory and rounds at
    random."""

    @model_validator(mode="after")
    def _not_both_sizes(self) -> Self:
        if self.rate is not None and self.centres is not None:
            raise OptionError(
                "sampler partial_fc: expected one of rate and centres; both are given (rate: 0.3, for "
                "example)",
                "rate",
            )
        return self

    def predict(self, context: SamplerContext) -> CentresShape:
        sampled = self._sampled(context)
        labels = min(context.batch_labels, context.num_classes)
        enough = min(10 * labels, context.num_classes)
        notes: tuple[str, ...] = ()
        if sampled < enough:
            notes = (
                f"sampler partial_fc: {sampled} centres in a step are few for up to {labels} different "
                f"labels in a batch; expect worse accuracy below ten times that ({enough})",
            )
        return CentresShape(_parameters(context), notes)

    def build(self, context: SamplerContext) -> SampledCentres:
        import torch

        from mlbench_samplers.row_optimizers import RowAdamW, RowSGD
        from mlbench_samplers.sampled_centres import SampledCentres

        return SampledCentres(
            context.num_classes,
            context.dim,
            context.centres_per_class,
            sampled=self._sampled(context),
            seed=context.seed,
            optimizer=partial(RowAdamW, betas=self.betas)
            if self.optimizer == "adamw"
            else partial(RowSGD, momentum=self.momentum, nesterov=self.optimizer == "sgd"),
            dtype=torch.bfloat16 if self.dtype == "bfloat16" else torch.float32,
        )

    def advise(self, context: HeadContext) -> Advice:
        """Cost at the options' size, or at several rates where they have none; float32 and AdamW."""
        from mlbench_samplers.head_cost import advise

        num_classes = context.num_classes
        if self.centres is not None:
            sampled = {self.centres / num_classes: self.centres}
        else:
            rates = _RATES if self.rate is None else (self.rate,)
            sampled = {rate: _share(num_classes, rate) for rate in rates}
        return advise(context, sampled)

    def _sampled(self, context: SamplerContext) -> int:
        """Classes in a step. Raises OptionError."""
        num_classes, batch_labels = context.num_classes, context.batch_labels
        if self.centres is not None:
            option, sampled = "centres", self.centres
            if sampled > num_classes:
                raise OptionError(
                    f"sampler partial_fc: {sampled} centres of {num_classes} classes; expected at most all",
                    option,
                )
            found = f"{sampled} centres of {num_classes} classes are"
            advice = f"raise centres to {min(batch_labels, num_classes)} or more"
        elif self.rate is not None:
            option, sampled = "rate", _share(num_classes, self.rate)
            found = f"rate {self.rate:g} of {num_classes} classes is {sampled} centres,"
            least = math.ceil(1000 * batch_labels / num_classes) / 1000
            advice = f"raise rate to {least:g} or more" if least < 1 else "use sampler all"
        else:
            raise OptionError(
                "sampler partial_fc: expected one of rate and centres; neither is given (rate: 0.3, for "
                "example)"
            )
        if sampled < min(batch_labels, num_classes):
            raise OptionError(
                f"sampler partial_fc: {found} fewer than the {batch_labels} different labels that a batch "
                f"may hold; {advice}",
                option,
            )
        return sampled


def _share(num_classes: int, rate: float) -> int:
    """The share `rate` of the classes, rounded down."""
    # Rounded first: 0.29 * 100 is 28.999999999999996 in floating point, and 29 is meant.
    return math.floor(round(rate * num_classes, 6))

"""Which class centres take part in a training step: all of them, or a random share."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.contracts import CentresShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_samplers.class_centres import ClassCentres
    from mlbench_samplers.partial_fc import PartialFC

__all__ = ["all_centres", "partial_fc", "predict_all_centres", "predict_partial_fc"]

_Optimizer = Literal["adamw", "sgd", "momentum"]
_Beta = Annotated[float, Field(ge=0, lt=1)]
_Rate = Annotated[float, Field(gt=0, le=1)]
_Count = Annotated[int, Field(ge=1)]


def all_centres(num_classes: int, dim: int, centres_per_class: int) -> ClassCentres:
    """Every class centre takes part in every step: the plain classification head."""
    from mlbench_samplers.class_centres import ClassCentres

    return ClassCentres(num_classes, dim, centres_per_class)


def predict_all_centres(num_classes: int, dim: int, centres_per_class: int) -> CentresShape:
    """Shape of what `all_centres` would build."""
    return CentresShape(num_classes * centres_per_class * dim)


def partial_fc(
    num_classes: int,
    dim: int,
    centres_per_class: int,
    batch_labels: int,
    seed: int,
    *,
    rate: _Rate | None = None,
    centres: _Count | None = None,
    optimizer: _Optimizer = "adamw",
    momentum: _Beta = 0.9,
    betas: tuple[_Beta, _Beta] = (0.9, 0.999),
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> PartialFC:
    """The batch's own class centres and random others in each step, and an optimiser of their own that
    touches no other centre (PartialFC, An et al., arXiv:2010.05222, arXiv:2203.15565).

    Time and memory of a step follow the number of centres that take part, not the number of classes
    (`mlbench advise partial-fc` predicts both). Learning rate and weight decay are the recipe's, step by
    step. The optimiser is named here, as the recipe's own cannot leave rows alone.

    Options
    -------
    rate: share of the classes whose centres take part in a step, in (0, 1]; this or centres.
    centres: how many classes take part in a step; this or rate.
    optimizer: of the centres, by its timm name: adamw, sgd (with Nesterov momentum) or momentum.
    momentum: of sgd and momentum.
    betas: of adamw.
    dtype: what the centres and their state are kept in; bfloat16 takes half the memory and rounds at random.

    Raises OptionError if not exactly one of rate and centres is given, or if the centres of a step could be
    fewer than the classes of one batch, which would leave no negatives.
    """
    import torch

    from mlbench_samplers.partial_fc import PartialFC
    from mlbench_samplers.rows import RowAdamW, RowSGD

    return PartialFC(
        num_classes,
        dim,
        centres_per_class,
        sampled=_sampled(num_classes, batch_labels, rate, centres),
        seed=seed,
        optimizer=partial(RowAdamW, betas=betas)
        if optimizer == "adamw"
        else partial(RowSGD, momentum=momentum, nesterov=optimizer == "sgd"),
        dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32,
    )


def predict_partial_fc(
    num_classes: int,
    dim: int,
    centres_per_class: int,
    batch_labels: int,
    seed: int,
    *,
    rate: _Rate | None = None,
    centres: _Count | None = None,
    optimizer: _Optimizer = "adamw",
    momentum: _Beta = 0.9,
    betas: tuple[_Beta, _Beta] = (0.9, 0.999),
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> CentresShape:
    """Shape of what `partial_fc` would build. Raises OptionError as it does."""
    sampled = _sampled(num_classes, batch_labels, rate, centres)
    labels = min(batch_labels, num_classes)
    notes: tuple[str, ...] = ()
    if sampled < min(10 * labels, num_classes):
        notes = (
            f"sampler partial_fc: {sampled} centres in a step are few for up to {labels} different labels in "
            f"a batch; expect worse accuracy below ten times that ({min(10 * labels, num_classes)})",
        )
    return CentresShape(num_classes * centres_per_class * dim, notes)


def _sampled(num_classes: int, batch_labels: int, rate: float | None, centres: int | None) -> int:
    """Classes of a step, or an OptionError where a batch may hold more classes than that."""
    if (rate is None) == (centres is None):
        given = "both are" if rate is not None else "neither is"
        raise OptionError(
            f"sampler partial_fc: expected one of rate and centres; {given} given (rate: 0.3, for example)",
            "rate" if rate is not None else "",
        )
    if centres is not None:
        if centres > num_classes:
            raise OptionError(
                f"sampler partial_fc: {centres} centres of {num_classes} classes; expected at most all",
                "centres",
            )
        sampled, what = centres, f"{centres} centres of {num_classes} classes are"
        advice = f"raise centres to {min(batch_labels, num_classes)} or more"
    else:
        assert rate is not None
        # Rounded first: 0.29 * 100 is 28.999999999999996 in floating point, and 29 is meant.
        sampled = math.floor(round(rate * num_classes, 6))
        what = f"rate {rate:g} of {num_classes} classes is {sampled} centres,"
        least = math.ceil(1000 * batch_labels / num_classes) / 1000
        advice = f"raise rate to {least:g} or more" if least < 1 else "use sampler all"
    if sampled < min(batch_labels, num_classes):
        raise OptionError(
            f"sampler partial_fc: {what} fewer than the {batch_labels} different labels that a batch may "
            f"hold; {advice}",
            "rate" if centres is None else "centres",
        )
    return sampled

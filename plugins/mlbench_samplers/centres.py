"""Which class centres take part in a training step: all of them, or a random share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_samplers.class_centres import ClassCentres, PartialFC

__all__ = ["all_centres", "partial_fc", "predict_all_centres", "predict_partial_fc"]


def all_centres(num_classes: int, dim: int, centres_per_class: int) -> ClassCentres:
    """Every class centre takes part in every step: the plain classification head."""
    from mlbench_samplers.class_centres import ClassCentres

    return ClassCentres(num_classes, dim, centres_per_class)


def predict_all_centres(num_classes: int, dim: int, centres_per_class: int) -> int:
    """Parameters of what `all_centres` would build."""
    return num_classes * centres_per_class * dim


def partial_fc(
    num_classes: int,
    dim: int,
    centres_per_class: int,
    batch_size: int,
    seed: int,
    *,
    rate: Annotated[float, Field(gt=0, le=1)] = 0.3,
) -> PartialFC:
    """The batch's own class centres and random others, floor(rate * classes) in all (PartialFC,
    An et al., arXiv:2203.15565).

    The centres are one dense parameter: a lower rate makes cosines, logits and their gradients smaller,
    while the gradient, the momentum and the weight decay of the centres still touch all of them.

    Options
    -------
    rate: share of the class centres that take part in a step, in (0, 1].

    Raises OptionError if the share could be smaller than the classes of one batch, which would leave no
    negatives.
    """
    from mlbench_samplers.class_centres import PartialFC

    sampled = _sampled(num_classes, batch_size, rate)
    return PartialFC(num_classes, dim, centres_per_class, sampled=sampled, seed=seed)


def predict_partial_fc(
    num_classes: int, dim: int, centres_per_class: int, batch_size: int, seed: int, *, rate: float = 0.3
) -> int:
    """Parameters of what `partial_fc` would build. Raises OptionError as it does."""
    _sampled(num_classes, batch_size, rate)
    return num_classes * centres_per_class * dim


def _sampled(num_classes: int, batch_size: int, rate: float) -> int:
    """floor(rate * num_classes), or an OptionError where a batch may hold more classes than that."""
    # Rounded first: 0.29 * 100 is 28.999999999999996 in floating point, and 29 is meant.
    sampled = math.floor(round(rate * num_classes, 6))
    if sampled < min(batch_size, num_classes):
        least = math.ceil(1000 * batch_size / num_classes) / 1000
        advice = f"raise rate to {least:g} or more" if least < 1 else "use sampler all"
        raise OptionError(
            f"sampler partial_fc: rate {rate:g} of {num_classes} classes is {sampled} centres, fewer than "
            f"the batch of {batch_size} images may need for its own classes; {advice}",
            "rate",
        )
    return sampled

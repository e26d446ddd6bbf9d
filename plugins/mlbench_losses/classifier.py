"""Losses with a linear classifier of their own, as image classification has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import LossShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_losses.linear_classifier import BinaryCrossEntropy, CrossEntropy

__all__ = ["bce", "cross_entropy", "predict_bce", "predict_cross_entropy"]

_Smoothing = Annotated[float, Field(ge=0, lt=1)]


def cross_entropy(
    num_classes: int, dim: int, *, smoothing: _Smoothing = 0.0, bias: bool = True
) -> CrossEntropy:
    """Softmax cross entropy of a linear layer on the embeddings, with label smoothing (arXiv:1512.00567).

    Options
    -------
    smoothing: share of the target that is spread over all classes, in [0, 1).
    bias: whether the linear layer has a bias.
    """
    from mlbench_losses.linear_classifier import CrossEntropy

    return CrossEntropy(num_classes, dim, smoothing=smoothing, bias=bias)


def bce(
    num_classes: int,
    dim: int,
    *,
    smoothing: _Smoothing = 0.0,
    target_threshold: Annotated[float, Field(ge=0, lt=1)] | None = None,
    sum_classes: bool = False,
    bias: bool = True,
) -> BinaryCrossEntropy:
    """Binary cross entropy of a linear layer on the embeddings, one yes or no for each class
    (arXiv:2110.00476), with the targets of timm's Mixup and BinaryCrossEntropy.

    Of an image mixed of two, the targets are the two classes' shares. With target_threshold they are 1 for
    each class whose share is above it and 0 for every other; smoothing then only decides which are above.

    Options
    -------
    smoothing: share of the target that is spread over all classes, in [0, 1).
    target_threshold: what a class's share must be above to be a target of 1; null keeps the shares.
    sum_classes: add up the classes' losses instead of taking their mean; examples are averaged either way.
    bias: whether the linear layer has a bias.

    Raises OptionError for a threshold that smoothing makes meaningless.
    """
    from mlbench_losses.linear_classifier import BinaryCrossEntropy

    _check_threshold(num_classes, smoothing, target_threshold)
    return BinaryCrossEntropy(
        num_classes,
        dim,
        smoothing=smoothing,
        target_threshold=target_threshold,
        sum_classes=sum_classes,
        bias=bias,
    )


def predict_cross_entropy(
    num_classes: int, dim: int, *, smoothing: float = 0.0, bias: bool = True
) -> LossShape:
    """What `cross_entropy` would be."""
    return LossShape(parameters=num_classes * (dim + bias))


def predict_bce(
    num_classes: int,
    dim: int,
    *,
    smoothing: float = 0.0,
    target_threshold: float | None = None,
    sum_classes: bool = False,
    bias: bool = True,
) -> LossShape:
    """What `bce` would be. Raises OptionError as it does."""
    _check_threshold(num_classes, smoothing, target_threshold)
    return LossShape(parameters=num_classes * (dim + bias))


def _check_threshold(num_classes: int, smoothing: float, threshold: float | None) -> None:
    if threshold is None:
        return
    low = smoothing / num_classes
    high = 1 - smoothing + low
    all_above = smoothing > 0 and threshold <= low
    if all_above or threshold >= high:
        every = "all" if all_above else "none"
        raise OptionError(
            f"loss bce: with smoothing {smoothing:g} the targets of {num_classes} classes are {low:g} and "
            f"{high:g}, of which {every} are above target_threshold {threshold:g}; expected a threshold "
            "between the two",
            "target_threshold",
        )

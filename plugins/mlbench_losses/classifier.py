"""Losses with a linear classifier that is trained along, as in image classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.plugin import LossContext, LossOptions, LossShape, OptionError

if TYPE_CHECKING:
    from mlbench_losses.linear_classifier import BinaryCrossEntropyLoss, CrossEntropyLoss

__all__ = ["Bce", "LinearCrossEntropy"]


class _Classifier(LossOptions):
    """Options that both losses share."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes (label smoothing)."""
    bias: bool = True
    """Whether the linear layer has a bias."""

    def predict(self, context: LossContext) -> LossShape:
        return LossShape(parameters=context.num_classes * (context.dim + self.bias))


class LinearCrossEntropy(_Classifier):
    """Softmax cross entropy of a linear layer on the embeddings, with label smoothing (arXiv:1512.00567).

        loss = -sum over j of target_j * log softmax(W x + b)_j
        target_j = (1 - smoothing) * [j = label] + smoothing / classes

    x: the embedding; W, b: weights of the linear layer. A mean over the batch.
    """

    def build(self, context: LossContext) -> CrossEntropyLoss:
        from mlbench_losses.linear_classifier import CrossEntropyLoss

        return CrossEntropyLoss(context.num_classes, context.dim, smoothing=self.smoothing, bias=self.bias)


class Bce(_Classifier):
    """Binary cross entropy of a linear layer on the embeddings, one yes or no for each class
    (arXiv:2110.00476), with the targets of timm's Mixup and BinaryCrossEntropy.

        loss = -mean over j of (target_j * log p_j + (1 - target_j) * log(1 - p_j))
        p = sigmoid(W x + b)
        target_j = (1 - smoothing) * [j = label] + smoothing / classes

    x: the embedding; W, b: weights of the linear layer. A mean over the batch.

    The targets of a mixed image are the shares of its two classes. With target_threshold they are 1 for each
    class whose share is above it and 0 for every other; smoothing then only decides which are above.

    Raises OptionError for a threshold that is not between the smoothed targets."""

    target_threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Classes with a share above this have the target 1, all others 0; null to use the shares as targets."""
    sum_classes: bool = False
    """Sum the losses of the classes instead of averaging them; examples are averaged either way."""

    def predict(self, context: LossContext) -> LossShape:
        self._check_threshold(context.num_classes)
        return super().predict(context)

    def build(self, context: LossContext) -> BinaryCrossEntropyLoss:
        from mlbench_losses.linear_classifier import BinaryCrossEntropyLoss

        self._check_threshold(context.num_classes)
        return BinaryCrossEntropyLoss(
            context.num_classes,
            context.dim,
            smoothing=self.smoothing,
            target_threshold=self.target_threshold,
            sum_classes=self.sum_classes,
            bias=self.bias,
        )

    def _check_threshold(self, num_classes: int) -> None:
        threshold = self.target_threshold
        if threshold is None:
            return
        low = self.smoothing / num_classes
        high = 1 - self.smoothing + low
        all_above = self.smoothing > 0 and threshold <= low
        if all_above or threshold >= high:
            every = "all" if all_above else "none"
            raise OptionError(
                f"loss bce: with smoothing {self.smoothing:g} the targets of {num_classes} classes are "
                f"{low:g} and {high:g}; {every} are above target_threshold {threshold:g}; expected a "
                "threshold between the two",
                "target_threshold",
            )

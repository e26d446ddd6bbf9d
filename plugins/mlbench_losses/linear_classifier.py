"""The modules that the losses in `classifier` build: a linear layer and a loss on its logits."""

from __future__ import annotations

import timm.loss
import torch
from timm.data.mixup import one_hot
from torch import nn
from torch.nn import functional as F

from mlbench_losses.labels import check_labels

__all__ = ["BinaryCrossEntropyLoss", "CrossEntropyLoss"]


class _Classifier(nn.Module):
    """linear: (num_classes, dim) weight and (num_classes,) bias, initialised by torch.nn.Linear from
    U(-1/sqrt(dim), 1/sqrt(dim)), as in timm's ResNets."""

    def __init__(self, num_classes: int, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.linear = nn.Linear(dim, num_classes, bias=bias)

    def _scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) in float32 at least: only the product may be in half precision."""
        scores: torch.Tensor = self.linear(embeddings)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


class CrossEntropyLoss(_Classifier):
    """Softmax cross entropy with label smoothing."""

    def __init__(self, num_classes: int, dim: int, *, smoothing: float, bias: bool) -> None:
        super().__init__(num_classes, dim, bias=bias)
        self.smoothing = smoothing

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float; labels: (N,) int64 in [0, num_classes). Returns the mean, a scalar.

        Raises TrainingError for labels out of range, on the CPU."""
        return self._loss(self._scores(embeddings), labels)

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """As `forward`, for mixed images: `share` of each belongs to class `labels`, the rest to `others`."""
        scores = self._scores(embeddings)
        # The cross entropy is linear in the targets.
        return share * self._loss(scores, labels) + (1 - share) * self._loss(scores, others)

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        check_labels(labels, self.num_classes)
        return F.cross_entropy(scores, labels, label_smoothing=self.smoothing)


class BinaryCrossEntropyLoss(_Classifier):
    """Binary cross entropy of each class, computed by timm."""

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        smoothing: float,
        target_threshold: float | None,
        sum_classes: bool,
        bias: bool,
    ) -> None:
        super().__init__(num_classes, dim, bias=bias)
        self.smoothing = smoothing
        self.entropy = timm.loss.BinaryCrossEntropy(
            smoothing=smoothing, target_threshold=target_threshold, sum_classes=sum_classes
        )

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float; labels: (N,) int64 in [0, num_classes). Returns the mean, a scalar.

        Raises TrainingError for labels out of range, on the CPU."""
        return self._loss(self._scores(embeddings), self._targets(labels))

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """As `forward`, for mixed images: `share` of each belongs to class `labels`, the rest to `others`."""
        targets = self._targets(labels) * share + self._targets(others) * (1 - share)
        return self._loss(self._scores(embeddings), targets)

    def _targets(self, labels: torch.Tensor) -> torch.Tensor:
        """Targets (N, num_classes) float32, smoothed as by timm."""
        check_labels(labels, self.num_classes)
        off = self.smoothing / self.num_classes
        targets: torch.Tensor = one_hot(
            labels, self.num_classes, on_value=1 - self.smoothing + off, off_value=off
        )
        return targets

    def _loss(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.entropy(scores, targets.to(scores.dtype))
        return value

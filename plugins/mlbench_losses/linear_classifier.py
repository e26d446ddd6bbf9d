"""A linear layer with a row for each class, and what is made of its logits."""

from __future__ import annotations

import timm.loss
import torch
from timm.data.mixup import one_hot
from torch import nn
from torch.nn import functional as F

from mlbench_losses.labels import check_labels

__all__ = ["BinaryCrossEntropy", "CrossEntropy"]


class _Classifier(nn.Module):
    """linear: (num_classes, dim) weight and (num_classes,) bias, drawn as torch.nn.Linear draws them, from
    U(-1/sqrt(dim), 1/sqrt(dim)), as those of timm's ResNets are."""

    def __init__(self, num_classes: int, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.linear = nn.Linear(dim, num_classes, bias=bias)

    def _scores(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(N, num_classes) logits, float32 at least: only the product may be in half precision."""
        scores: torch.Tensor = self.linear(embeddings)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


class CrossEntropy(_Classifier):
    """Softmax cross entropy with label smoothing."""

    def __init__(self, num_classes: int, dim: int, *, smoothing: float, bias: bool) -> None:
        super().__init__(num_classes, dim, bias=bias)
        self.smoothing = smoothing

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float; labels: (N,) int64 in [0, num_classes). Returns the mean, a scalar.

        Raises TrainingError for labels out of range, on the CPU."""
        return self._of(self._scores(embeddings), labels)

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """As `forward`, for images of which `share` is of the class `labels` and the rest of `others`."""
        scores = self._scores(embeddings)
        # The cross entropy is linear in the targets.
        return share * self._of(scores, labels) + (1 - share) * self._of(scores, others)

    def _of(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        check_labels(labels, self.num_classes)
        return F.cross_entropy(scores, labels, label_smoothing=self.smoothing)


class BinaryCrossEntropy(_Classifier):
    """Binary cross entropy of each class, by timm."""

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
        return self._of(self._scores(embeddings), self._targets(labels))

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """As `forward`, for images of which `share` is of the class `labels` and the rest of `others`."""
        targets = self._targets(labels) * share + self._targets(others) * (1 - share)
        return self._of(self._scores(embeddings), targets)

    def _targets(self, labels: torch.Tensor) -> torch.Tensor:
        """(N, num_classes) float32: smoothed, as timm smooths them."""
        check_labels(labels, self.num_classes)
        off = self.smoothing / self.num_classes
        targets: torch.Tensor = one_hot(
            labels, self.num_classes, on_value=1 - self.smoothing + off, off_value=off
        )
        return targets

    def _of(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.entropy(scores, targets.to(scores.dtype))
        return value

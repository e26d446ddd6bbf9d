"""All class centres in every step: the plain classification head."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from mlbench.plugin import CentreLoss, TrainingError

__all__ = ["INTEGERS", "ClassCentres"]

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class ClassCentres(nn.Module):
    """All class centres, all of them in every step.

    centres: (num_classes, centres_per_class, dim) float32, drawn from N(0, 0.01^2), with the same initial
    values as `SampledCentres` has.
    """

    def __init__(self, num_classes: int, dim: int, centres_per_class: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.empty(num_classes, centres_per_class, dim).normal_(0, 0.01))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) integers in [0, num_classes).

        Returns the mean cross entropy, a scalar. Computes in the centres' precision (float32), under
        autocast too: a margin loss multiplies cosines by its scale, which makes the rounding errors of half
        precision too large.

        Raises TrainingError for labels that are no integers or out of range. On CUDA the range is not
        checked here, because every step would wait for the device; CUDA's own assertion stops such labels.
        """
        self._check(labels)
        return _cross_entropy(embeddings, self.centres, labels.long(), loss)

    def _check(self, labels: torch.Tensor) -> None:
        if labels.dtype not in INTEGERS:
            raise TrainingError(f"labels are {labels.dtype}; expected integers")
        if labels.device.type == "cpu" and labels.numel():
            low, high = (int(value) for value in labels.aminmax())
            if low < 0 or high >= len(self.centres):
                raise TrainingError(
                    f"labels run from {low} to {high}; expected 0 to {len(self.centres) - 1}, "
                    f"as there are {len(self.centres)} classes"
                )


def _cross_entropy(
    embeddings: torch.Tensor, centres: torch.Tensor, targets: torch.Tensor, loss: CentreLoss
) -> torch.Tensor:
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = embeddings.to(centres.dtype)
        norms = embeddings.norm(dim=1)
        # Dividing the products by the lengths of the centres needs no normalised copy of the centres.
        lengths = centres.norm(dim=2).clamp_min(1e-12)
        products = F.normalize(embeddings) @ centres.flatten(0, 1).T
        cosines = (products.view(-1, *lengths.shape) / lengths).clamp(-1, 1)
        return F.cross_entropy(loss.logits(cosines, targets, norms), targets)

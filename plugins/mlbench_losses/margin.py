"""Margin losses on the cosines between embeddings and class centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mlbench.contracts import LossShape

if TYPE_CHECKING:
    import torch

__all__ = ["CosFace", "cosface", "predict_cosface", "predict_softmax", "softmax"]


@dataclass(frozen=True, slots=True)
class CosFace:
    """Additive cosine margin (Wang et al., arXiv:1801.09414): scale * (cosine - margin) for the target.

    scale: what all cosines are multiplied by, > 0. margin: what the target's cosine must win by, in units
    of the cosine. With margin 0 this is the normalised softmax (Wang et al., arXiv:1704.06369).
    """

    scale: float
    margin: float
    centres_per_class: int = 1
    per_example: ClassVar[bool] = True

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is
        not among the K; norms: (N,) float, not used. Returns logits (N, K)."""
        targets = targets.unsqueeze(1)
        # Subtracts at N places without a mask of N x K, and without waiting for a GPU to say which.
        margins = (targets >= 0).to(cosines.dtype) * -self.margin
        return cosines.squeeze(2).scatter_add(1, targets.clamp(min=0), margins) * self.scale


def cosface(
    *, scale: Annotated[float, Field(gt=0)] = 64.0, margin: Annotated[float, Field(ge=0, lt=2)] = 0.4
) -> CosFace:
    """The additive cosine margin loss (arXiv:1801.09414).

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: what the target's cosine must win by, in [0, 2).
    """
    return CosFace(scale=scale, margin=margin)


def softmax(*, scale: Annotated[float, Field(gt=0)] = 64.0) -> CosFace:
    """The normalised softmax loss (arXiv:1704.06369): CosFace without its margin.

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    """
    return CosFace(scale=scale, margin=0.0)


def predict_cosface(*, scale: float = 64.0, margin: float = 0.4) -> LossShape:
    """What `cosface` would be."""
    return LossShape(centres_per_class=1)


def predict_softmax(*, scale: float = 64.0) -> LossShape:
    """What `softmax` would be."""
    return LossShape(centres_per_class=1)

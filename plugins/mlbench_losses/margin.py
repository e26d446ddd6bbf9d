"""Margin losses on the cosines between embeddings and class centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mlbench.contracts import LossShape

if TYPE_CHECKING:
    import torch

    from mlbench_losses.adaface import AdaFace
    from mlbench_losses.arcface import ArcFace
    from mlbench_losses.curricularface import CurricularFace

__all__ = [
    "CosFace",
    "adaface",
    "arcface",
    "cosface",
    "curricularface",
    "predict_adaface",
    "predict_arcface",
    "predict_cosface",
    "predict_curricularface",
    "predict_softmax",
    "predict_subcenter_arcface",
    "softmax",
    "subcenter_arcface",
]

_Scale = Annotated[float, Field(gt=0)]
_Angle = Annotated[float, Field(ge=0, le=1.57)]
_Momentum = Annotated[float, Field(gt=0, le=1)]
_Gradient = Literal["exact", "straight_through"]


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


def cosface(*, scale: _Scale = 64.0, margin: Annotated[float, Field(ge=0, lt=2)] = 0.4) -> CosFace:
    """The additive cosine margin loss (arXiv:1801.09414).

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: what the target's cosine must win by, in [0, 2).
    """
    return CosFace(scale=scale, margin=margin)


def softmax(*, scale: _Scale = 64.0) -> CosFace:
    """The normalised softmax loss (arXiv:1704.06369): CosFace without its margin.

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    """
    return CosFace(scale=scale, margin=0.0)


def arcface(*, scale: _Scale = 64.0, margin: _Angle = 0.5, gradient: _Gradient = "exact") -> ArcFace:
    """The additive angular margin loss (arXiv:1801.07698).

    The two gradients are two losses. `exact` is the formula: its gradient has the factor
    sin(t + margin) / sin(t), and where the angle t + margin is beyond pi, the target's cosine is
    cos(t) - margin * sin(margin) instead, a monotone continuation. `straight_through` is what the authors'
    code does: the margin changes the value and not the gradient, whose factor is 1, and nothing guards
    against angles beyond pi.

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: what is added to the target's angle, in radians, in [0, 1.57].
    gradient: exact, or straight_through.
    """
    from mlbench_losses.arcface import ArcFace

    return ArcFace(scale=scale, margin=margin, straight_through=gradient == "straight_through")


def subcenter_arcface(
    *,
    scale: _Scale = 64.0,
    margin: _Angle = 0.5,
    gradient: _Gradient = "exact",
    centres_per_class: Annotated[int, Field(ge=1)] = 3,
) -> ArcFace:
    """ArcFace with several centres for each class, of which the nearest counts, so that odd images do not
    pull at the others' centre (arXiv:1801.07698, section 3.3).

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: what is added to the target's angle, in radians, in [0, 1.57].
    gradient: exact, or straight_through (see arcface).
    centres_per_class: sub-centres of each class.
    """
    from mlbench_losses.arcface import ArcFace

    return ArcFace(
        scale=scale,
        margin=margin,
        straight_through=gradient == "straight_through",
        centres_per_class=centres_per_class,
    )


def adaface(
    *,
    scale: _Scale = 64.0,
    margin: _Angle = 0.4,
    h: Annotated[float, Field(ge=0)] = 0.333,
    momentum: _Momentum = 0.01,
) -> AdaFace:
    """A margin that adapts to the quality of the image, for which the length of the embedding stands
    (arXiv:2204.00964). It needs a neck that leaves the length alone, and does not set it to 1.

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: largest margin, in radians and in units of the cosine, in [0, 1.57].
    h: how much of the margin a length one standard deviation off takes or gives.
    momentum: weight of a batch in the running mean and deviation of the lengths, in (0, 1].
    """
    from mlbench_losses.adaface import AdaFace

    return AdaFace(scale=scale, margin=margin, h=h, momentum=momentum)


def curricularface(
    *, scale: _Scale = 64.0, margin: _Angle = 0.5, momentum: _Momentum = 0.01
) -> CurricularFace:
    """ArcFace that stresses easy negatives first and hard ones later (arXiv:2004.00288).

    Options
    -------
    scale: what the cosines are multiplied by, > 0.
    margin: what is added to the target's angle, in radians, in [0, 1.57].
    momentum: weight of a batch in the running mean of the target's cosine, in (0, 1].
    """
    from mlbench_losses.curricularface import CurricularFace

    return CurricularFace(scale=scale, margin=margin, momentum=momentum)


def predict_cosface(*, scale: float = 64.0, margin: float = 0.4) -> LossShape:
    """What `cosface` would be."""
    return LossShape(centres_per_class=1)


def predict_softmax(*, scale: float = 64.0) -> LossShape:
    """What `softmax` would be."""
    return LossShape(centres_per_class=1)


def predict_arcface(*, scale: float = 64.0, margin: float = 0.5, gradient: _Gradient = "exact") -> LossShape:
    """What `arcface` would be."""
    return LossShape(centres_per_class=1)


def predict_subcenter_arcface(
    *, scale: float = 64.0, margin: float = 0.5, gradient: _Gradient = "exact", centres_per_class: int = 3
) -> LossShape:
    """What `subcenter_arcface` would be."""
    return LossShape(centres_per_class=centres_per_class)


def predict_adaface(
    *, scale: float = 64.0, margin: float = 0.4, h: float = 0.333, momentum: float = 0.01
) -> LossShape:
    """What `adaface` would be."""
    return LossShape(centres_per_class=1)


def predict_curricularface(*, scale: float = 64.0, margin: float = 0.5, momentum: float = 0.01) -> LossShape:
    """What `curricularface` would be."""
    return LossShape(centres_per_class=1)

"""The additive angular margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from mlbench_losses.target import put_target, take_target

__all__ = ["ArcFace", "add_angle", "guarded", "sines_of"]


@dataclass(frozen=True, slots=True)
class ArcFace:
    """Additive angular margin (Deng et al., arXiv:1801.07698): scale * cos(angle + margin) for the target.

    scale: what all cosines are multiplied by, > 0. margin: what is added to the target's angle, in radians,
    in [0, pi/2]. straight_through: whether the gradient passes by the margin, as in the authors' code, which
    has no guard either; else it is that of the formula, with the guard (see `guarded`). centres_per_class:
    with several, the nearest stands for its class (sub-centres, section 3.3 of the same paper).
    """

    scale: float
    margin: float
    straight_through: bool = False
    centres_per_class: int = 1
    per_example: ClassVar[bool] = True

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, centres_per_class) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where
        the target is not among the K; norms: (N,) float, not used. Returns logits (N, K)."""
        nearest = cosines.squeeze(2) if self.centres_per_class == 1 else cosines.amax(2)
        target = take_target(nearest, targets)
        if self.straight_through:
            with torch.no_grad():
                by = add_angle(target, self.margin) - target
            moved = target + by
        else:
            moved = guarded(target, self.margin)
        return put_target(nearest, targets, moved) * self.scale


def sines_of(cosines: torch.Tensor) -> torch.Tensor:
    """sin(t) of cosines cos(t), float32 or float64, with a gradient of 0 at cosines of 1 and -1, where the
    formula's has a pole."""
    # 1 - cosine is exact near 1, as 1 - cosine ** 2 is not. The floor is met by 1 and -1 alone.
    return ((1 - cosines) * (1 + cosines)).clamp_min(1e-30).sqrt()


def add_angle(cosines: torch.Tensor, angle: float) -> torch.Tensor:
    """cos(t + angle) of cosines cos(t), float32 or float64, for an angle in radians.

    The gradient is sin(t + angle) / sin(t); at cosines of 1 and -1, where that has a pole, cos(angle).
    """
    return cosines * math.cos(angle) - sines_of(cosines) * math.sin(angle)


def guarded(cosines: torch.Tensor, margin: float) -> torch.Tensor:
    """cos(t + margin) of cosines cos(t) while t + margin <= pi; beyond, where that would rise again, the
    monotone continuation cos(t) - margin * sin(margin).

    It never rises with t for margins in [0, pi/2]; where the two meet it drops, by .08 for a margin of .4.
    """
    beyond = cosines - margin * math.sin(margin)
    return torch.where(cosines >= -math.cos(margin), add_angle(cosines, margin), beyond)

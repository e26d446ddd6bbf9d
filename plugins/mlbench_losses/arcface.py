"""Cosines of angles that a margin is added to."""

from __future__ import annotations

import math

import torch

from mlbench_losses.target import put_target, take_target

__all__ = ["add_angle", "add_margin", "guarded", "margin_logits", "sines_of"]


def margin_logits(
    cosines: torch.Tensor, targets: torch.Tensor, margin: float, *, straight_through: bool
) -> torch.Tensor:
    """The cosines with `margin`, radians in [0, pi/2], added to the target's angle. Returns (N, K).

    cosines: (N, K) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is not among the
    K. straight_through: whether the gradient ignores the margin, as in the authors' code, which does not
    guard angles beyond pi either; otherwise the cosine and its gradient are those of `guarded`.
    """
    moved = add_margin(take_target(cosines, targets), margin, straight_through=straight_through)
    return put_target(cosines, targets, moved)


def add_margin(cosines: torch.Tensor, margin: float, *, straight_through: bool) -> torch.Tensor:
    """The targets' cosines, float32 or float64 in any shape, with the margin as in `margin_logits`."""
    if not straight_through:
        return guarded(cosines, margin)
    with torch.no_grad():
        by = add_angle(cosines, margin) - cosines
    return cosines + by


def sines_of(cosines: torch.Tensor) -> torch.Tensor:
    """sin(t) of cosines cos(t), float32 or float64, with a gradient of 0 at cosines of 1 and -1, where the
    gradient of the formula has a pole."""
    # (1 - c)(1 + c) is exact near 1, unlike 1 - c ** 2. Only 1 and -1 reach the floor.
    return ((1 - cosines) * (1 + cosines)).clamp_min(1e-30).sqrt()


def add_angle(cosines: torch.Tensor, angle: float) -> torch.Tensor:
    """cos(t + angle) of cosines cos(t), float32 or float64, for an angle in radians.

    The gradient is sin(t + angle) / sin(t); at cosines of 1 and -1, where that has a pole, cos(angle).
    """
    return cosines * math.cos(angle) - sines_of(cosines) * math.sin(angle)


def guarded(cosines: torch.Tensor, margin: float) -> torch.Tensor:
    """cos(t + margin) of cosines cos(t) where t + margin <= pi; beyond, where that would rise again,
    cos(t) - margin * sin(margin), which keeps falling with t.

    It never rises with t for margins in [0, pi/2]. At t + margin = pi it drops, by .08 for a margin of .4.
    """
    beyond = cosines - margin * math.sin(margin)
    return torch.where(cosines >= -math.cos(margin), add_angle(cosines, margin), beyond)

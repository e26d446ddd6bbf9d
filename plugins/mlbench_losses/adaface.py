"""A margin that adapts to the length of the embedding."""

from __future__ import annotations

import torch
from torch import nn

from mlbench_losses.arcface import sines_of
from mlbench_losses.target import put_target, take_target

__all__ = ["AdaFaceLoss"]


class AdaFaceLoss(nn.Module):
    """Quality adaptive margin (Kim et al., arXiv:2204.00964).

    The quality q of an image is the length of its embedding before normalisation, standardised by running
    statistics, multiplied by h and clipped to [-1, 1]. The target's logit is
    scale * (cos(angle - margin * q) - margin * (1 + q)), with the angle clamped to [0, pi]. Long embeddings
    (good images) get a margin that emphasises hard examples, short ones a margin that emphasises easy
    examples. No gradient flows to the length.

    mean, std: running mean and standard deviation of the lengths, float32, initially 20 and 100. A training
    batch moves them by `momentum` towards its own values before its logits are computed. They do not change
    in `eval` mode, under `torch.no_grad`, or for a batch of one, which has no standard deviation.
    """

    centres_per_class = 1
    per_example = False
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, *, scale: float, margin: float, h: float, momentum: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.h = h
        self.momentum = momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("std", torch.tensor(100.0))

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is
        not among the K; norms: (N,) float. Returns logits (N, K)."""
        cosines = cosines.squeeze(2)
        moved = self._moved(take_target(cosines, targets).squeeze(1), norms)
        return put_target(cosines, targets, moved.unsqueeze(1)) * self.scale

    def target_logits(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return self._moved(cosines, norms) * self.scale

    def _moved(self, cosines: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """The targets' cosines (N,) with their margins."""
        quality = self._quality(norms).to(cosines.dtype)
        return _add_angles(cosines, -self.margin * quality) - self.margin * (1 + quality)

    def _quality(self, norms: torch.Tensor) -> torch.Tensor:
        """(N,) in [-1, 1]."""
        learning = self.training and torch.is_grad_enabled()
        with torch.no_grad():
            norms = norms.to(self.mean.dtype).clamp(1e-3, 100)
            if learning and len(norms) > 1:
                self.mean.lerp_(norms.mean(), self.momentum)
                self.std.lerp_(norms.std(), self.momentum)
            return ((norms - self.mean) / (self.std + 1e-3) * self.h).clamp(-1, 1)


def _add_angles(cosines: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """cos(t + angle) of cosines cos(t), with t + angle clamped to [0, pi] and a gradient of 0 where it is
    clamped; angles in [-pi/2, pi/2]."""
    edges = angles.cos()
    turned = cosines * edges - sines_of(cosines) * angles.sin()
    # Not torch.where, which copies a number to a GPU and waits for it.
    turned = turned.masked_fill((angles < 0) & (cosines > edges), 1)
    return turned.masked_fill((angles > 0) & (cosines < -edges), -1)

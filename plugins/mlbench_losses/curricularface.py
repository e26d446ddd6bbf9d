"""A margin loss that weights hard negatives more and more during training."""

from __future__ import annotations

import torch
from torch import nn

from mlbench_losses.arcface import add_angle, guarded
from mlbench_losses.target import put_target, take_target

__all__ = ["CurricularFaceLoss"]


class CurricularFaceLoss(nn.Module):
    """Adaptive curriculum (Huang et al., arXiv:2004.00288): ArcFace whose hard negatives, those with a cosine
    above cos(target's angle + margin), have the logit scale * cosine * (t + cosine).

    t: running mean of the target's cosine, float32, initially 0, so that hard negatives have little weight at
    first. A training batch moves it by `momentum` towards its own mean before its logits are computed. It
    does not change in `eval` mode or under `torch.no_grad`.

    An example whose target is not among the columns (-1) keeps its cosines and does not change t: its hard
    negatives are unknown without the target's angle. With class centres split over several processes, the
    result therefore differs from that of one process.
    """

    centres_per_class = 1
    per_example = False
    t: torch.Tensor

    def __init__(self, *, scale: float, margin: float, momentum: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.momentum = momentum
        self.register_buffer("t", torch.tensor(0.0))

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, 1) float in [-1, 1]; targets: (N,) int64 in [0, K), or -1 where the target is
        not among the K; norms: (N,) float, not used. Returns logits (N, K)."""
        cosines = cosines.squeeze(2)
        target = take_target(cosines, targets)
        here = targets.unsqueeze(1) >= 0
        self._learn(target, here)
        hard = here & (cosines > add_angle(target.detach(), self.margin))
        others = torch.where(hard, cosines * (self.t.to(cosines.dtype) + cosines), cosines)
        return put_target(others, targets, guarded(target, self.margin)) * self.scale

    def _learn(self, target: torch.Tensor, here: torch.Tensor) -> None:
        if not (self.training and torch.is_grad_enabled()):
            return
        with torch.no_grad():
            count = here.sum()
            mean = (target * here).sum().to(self.t.dtype) / count.clamp_min(1)
            self.t.lerp_(torch.where(count > 0, mean, self.t), self.momentum)

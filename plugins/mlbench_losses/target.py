"""Reads and replaces the target's cosine among the cosines to all classes."""

from __future__ import annotations

import torch

__all__ = ["put_target", "take_target"]


def take_target(cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The target's cosine out of cosines (N, K), as (N, 1) in float32 at least; an arbitrary cosine where the
    target is not among the K (-1). targets: (N,) int64 in [-1, K)."""
    target = cosines.gather(1, targets.clamp_min(0).unsqueeze(1))
    return target.to(torch.promote_types(target.dtype, torch.float32))


def put_target(cosines: torch.Tensor, targets: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A copy of the cosines (N, K) with `values` (N, 1) at the targets; rows whose target is not among the
    K (-1) are unchanged."""
    column = targets.clamp_min(0).unsqueeze(1)
    values = torch.where(targets.unsqueeze(1) >= 0, values.to(cosines.dtype), cosines.gather(1, column))
    # Writes N positions: no mask of N x K, and no wait for the GPU to count the targets.
    return cosines.scatter(1, column, values)

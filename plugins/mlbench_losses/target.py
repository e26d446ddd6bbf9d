"""The target's cosine among those to all classes: taken out, and put back changed."""

from __future__ import annotations

import torch

__all__ = ["put_target", "take_target"]


def take_target(cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The target's of the cosines (N, K), as (N, 1) in float32 at least; of targets that are not among the
    K (-1), some number that means nothing. targets: (N,) int64 in [-1, K)."""
    target = cosines.gather(1, targets.clamp_min(0).unsqueeze(1))
    return target.to(torch.promote_types(target.dtype, torch.float32))


def put_target(cosines: torch.Tensor, targets: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A copy of the cosines (N, K) with `values` (N, 1) in the targets' places; rows of targets that are not
    among the K (-1) as they were."""
    column = targets.clamp_min(0).unsqueeze(1)
    values = torch.where(targets.unsqueeze(1) >= 0, values.to(cosines.dtype), cosines.gather(1, column))
    # At N places, without a mask of N x K, and without waiting for a GPU to say which.
    return cosines.scatter(1, column, values)

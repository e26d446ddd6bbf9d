"""The triplet loss with a term for positive pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional as F

from mlbench.plugin import TrainingError

__all__ = ["triplet_pair_loss"]


def triplet_pair_loss(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    margin: float,
    pair_weight: float,
    triplets: Literal["rows", "all", "hard"],
) -> torch.Tensor:
    """The loss that `mlbench_losses.pairs.TripletPair` describes, with the same arguments and options."""
    with torch.autocast(embeddings.device.type, enabled=False):
        wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        hinge, pair, count = _TRIPLETS[triplets](F.normalize(wide), labels, margin)
        return (hinge + pair_weight * pair) / count.clamp_min(1)


def _rows(
    units: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of the hinges, sum of d_ap and number of triplets, as `_all` and `_hard` return them."""
    if len(units) % 3:
        raise TrainingError(
            f"loss triplet_pair: a batch of {len(units)} images is not made of triplets; expected a multiple "
            "of 3, as from a batch sampler of triplets, or set the loss's triplets: all"
        )
    if labels.device.type == "cpu":
        rows = labels.view(-1, 3)
        wrong = ((rows[:, 0] != rows[:, 1]) | (rows[:, 0] == rows[:, 2])).nonzero()
        if len(wrong):
            first = int(wrong[0])
            raise TrainingError(
                f"loss triplet_pair: rows {3 * first} to {3 * first + 2} of a batch have labels "
                f"{rows[first].tolist()}; expected anchor, positive (same label), negative (another), as "
                "from a batch sampler of triplets, or set the loss's triplets: all"
            )
    anchor, positive, negative = units[0::3], units[1::3], units[2::3]
    to_positive = 1 - (anchor * positive).sum(1)
    to_negative = 1 - (anchor * negative).sum(1)
    hinge = (to_positive - to_negative + margin).clamp_min(0).sum()
    return hinge, to_positive.sum(), torch.full_like(hinge, len(anchor))


def _all(
    units: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    distances, positive, negative = _pairs(units, labels)
    # Without a list of the triplets, of which there may be N ** 3: the sum of the hinges is the sum of their
    # distances, each times the number of hinges above 0 that it is part of. Sorted distances give the
    # numbers.
    with torch.no_grad():
        infinity = float("inf")
        # Not torch.where, which copies a number to a GPU and waits for it.
        reach = (distances + margin).masked_fill(~positive, -infinity)
        near = distances.masked_fill(~negative, infinity)
        of_positive = torch.searchsorted(near.sort(1).values, reach)
        of_negative = len(units) - torch.searchsorted(reach.sort(1).values, near, right=True)
        negatives = negative.sum(1, keepdim=True)
    hinge = (of_positive * (distances + margin) - of_negative * distances).sum()
    weights = positive * negatives
    return hinge, (weights * distances).sum(), weights.sum()


def _hard(
    units: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    distances, positive, negative = _pairs(units, labels)
    valid = positive.any(1) & negative.any(1)
    farthest = distances.masked_fill(~positive, -1).amax(1)
    nearest = distances.masked_fill(~negative, 3).amin(1)
    hinge = (farthest - nearest + margin).clamp_min(0)
    return (hinge * valid).sum(), (farthest * valid).sum(), valid.sum()


def _pairs(units: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three (N, N): distances; whether the column is a positive of the row; whether it is a negative."""
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return 1 - units @ units.T, same & ~itself, ~same


_TRIPLETS: dict[
    str,
    Callable[[torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
] = {"rows": _rows, "all": _all, "hard": _hard}

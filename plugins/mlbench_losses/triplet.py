"""The triplet loss, with a term for the positive pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from mlbench.errors import TrainingError

__all__ = ["TripletPair"]


@dataclass(frozen=True, slots=True)
class TripletPair:
    """mean max(0, d_ap - d_an + margin) + pair_weight * mean d_ap, with d = 1 - cosine, in [0, 2], of an
    anchor to its positive (same label) and its negative (another label).

    triplets: which ones. "rows": rows 3i, 3i + 1 and 3i + 2 of the batch are anchor, positive, negative.
    "all": every triplet of the batch; both means are over triplets. "hard": of each image that has both, the
    farthest positive and the nearest negative (Hermans et al., arXiv:1703.07737).

    A batch without a triplet has the loss 0. Computes in float32 at least, under autocast too.
    """

    margin: float
    pair_weight: float
    triplets: Literal["rows", "all", "hard"]

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64. Returns a scalar.

        Raises TrainingError for rows that are no triplets; by their labels on the CPU only, as looking at
        them elsewhere would make every step wait for the device."""
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            hinge, pair, count = _TRIPLETS[self.triplets](F.normalize(wide), labels, self.margin)
            return (hinge + self.pair_weight * pair) / count.clamp_min(1)


def _rows(
    units: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of the hinges, sum of d_ap, and number of triplets; as all three functions return it."""
    if len(units) % 3:
        raise TrainingError(
            f"loss triplet_pair: a batch of {len(units)} is not made of triplets; expected a multiple of 3, "
            "as a batch sampler of triplets makes it, or set the loss's triplets: all"
        )
    if labels.device.type == "cpu":
        rows = labels.view(-1, 3)
        wrong = ((rows[:, 0] != rows[:, 1]) | (rows[:, 0] == rows[:, 2])).nonzero()
        if len(wrong):
            first = int(wrong[0])
            raise TrainingError(
                f"loss triplet_pair: rows {3 * first} to {3 * first + 2} of a batch have the labels "
                f"{rows[first].tolist()}; expected anchor, positive (same label), negative (another), as a "
                "batch sampler of triplets lays them out, or set the loss's triplets: all"
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
    # Not one by one, as there may be N ** 3: a sum of hinges is the sum of the distances in it, each as often
    # as it is in a hinge above 0. How often, sorted distances tell.
    with torch.no_grad():
        infinity = float("inf")
        reach = torch.where(positive, distances + margin, -infinity)
        near = torch.where(negative, distances, infinity)
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
    farthest = torch.where(positive, distances, -1).amax(1)
    nearest = torch.where(negative, distances, 3).amin(1)
    hinge = (farthest - nearest + margin).clamp_min(0)
    return (hinge * valid).sum(), (farthest * valid).sum(), valid.sum()


def _pairs(units: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N, N): distances, and whether the column is a positive, or a negative, of the row."""
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return 1 - units @ units.T, same & ~itself, ~same


_TRIPLETS: dict[
    str,
    Callable[[torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
] = {"rows": _rows, "all": _all, "hard": _hard}

"""Relations between the images of a batch: distances between two, and angles between three."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = ["Relations"]

#: Numbers held in memory at a time for the angles at some of the images.
_HELD = 1 << 22

#: Between unit vectors nearer than this, the direction from one to the other is rounding error.
_NEAREST = 1e-6


@dataclass(frozen=True, slots=True)
class Relations:
    """Weighted Huber losses of the distances between images and of the angles between triples of images (Park
    et al., arXiv:1904.05068), each a mean over the pairs or triples of different images."""

    distance_weight: float
    angle_weight: float

    def __call__(self, students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
        """students: (N, D), teachers: (N, T) float of unit length. Returns a scalar: 0 for one image, and
        without angles for two."""
        total = 0 * students.sum()
        if self.distance_weight and len(students) > 1:
            total = total + self.distance_weight * _distances(students, teachers)
        if self.angle_weight and len(students) > 2:
            total = total + self.angle_weight * _angles(students, teachers)
        return total


def _distances(students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    pairs = len(students) * (len(students) - 1)
    own, wanted = _relative(students, pairs), _relative(teachers, pairs)
    return F.smooth_l1_loss(own, wanted, reduction="sum") / pairs


def _relative(vectors: torch.Tensor, pairs: int) -> torch.Tensor:
    """Distances as multiples of their mean, (N, N); 0 on the diagonal."""
    # From differences: from products, small distances would be mostly rounding error.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    return distances / (distances.sum() / pairs).clamp_min(_NEAREST)


def _angles(students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    count = len(students)
    widest = max(count, students.shape[1], teachers.shape[1])
    at_once = max(1, _HELD // (count * widest))
    total = students.new_zeros(())
    for start in range(0, count, at_once):
        # The backward pass computes this again: stored for all vertices, it grows with the cube of the batch.
        total = total + checkpoint(
            _angles_at, students, teachers, start, at_once, use_reentrant=False, preserve_rng_state=False
        )
    return total / (count * (count - 1) * (count - 2))


def _angles_at(students: torch.Tensor, teachers: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """Sum of the Huber losses of the angles at the images [start, start + count)."""
    own, wanted = _cosines(students, start, count), _cosines(teachers, start, count)
    losses = F.smooth_l1_loss(own, wanted, reduction="none")
    # An image and itself are not a pair.
    losses.diagonal(dim1=1, dim2=2).zero_()
    return losses.sum()


def _cosines(vectors: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """Cosines (V, N, N) of the angles at each of V vertices, the images [start, start + count), between all
    pairs of images; 0 where an image of the pair is the vertex or at its place."""
    sides = vectors[None] - vectors[start : start + count, None]
    squares = sides.square().sum(2, keepdim=True)
    apart = squares > _NEAREST**2
    # Not F.normalize: its gradient grows without bound as a side's length goes to 0.
    directions = sides.masked_fill(~apart, 0) / squares.masked_fill(~apart, 1).sqrt()
    return directions @ directions.mT

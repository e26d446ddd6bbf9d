"""The module that the factories in `distances` build, and the distances of each image by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["KL", "Distillation", "cosine_distance", "mean_absolute_difference"]


class Distillation(nn.Module):
    """A distance between embeddings and a teacher's, both at unit length.

    Computes in float32 (float64 for such embeddings), under autocast too: the differences that matter here
    are lost in half precision.
    """

    def __init__(
        self,
        distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        widths: tuple[int, int] | None,
        weight: float,
        images: Literal["clean", "augmented"],
    ) -> None:
        """distance: of two batches of unit vectors, (N, D) and (N, T), a scalar. widths: of a projection,
        from and to; None for none."""
        super().__init__()
        self.distance = distance
        self.projection = nn.Linear(*widths, bias=False) if widths else nn.Identity()
        self.weight = weight
        self.images = images

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; targets: (N, T) float, any length. Returns a scalar."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            students = F.normalize(self.projection(embeddings))
            return self.distance(students, F.normalize(targets.to(students.dtype)))


@dataclass(frozen=True, slots=True)
class KL:
    """KL(softmax(teachers / temperature) || softmax(students / temperature)) over the dimensions, mean over
    the batch."""

    temperature: float

    def __call__(self, students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
        """students, teachers: (N, T) float. Returns a scalar."""
        own, wanted = (F.log_softmax(each / self.temperature, dim=1) for each in (students, teachers))
        return F.kl_div(own, wanted, reduction="batchmean", log_target=True)


def cosine_distance(students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    """1 - cos, mean over the batch. students, teachers: (N, T) float of unit length. Returns a scalar."""
    return 1 - (students * teachers).sum(1).mean()


def mean_absolute_difference(students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    """Mean over batch and dimensions. students, teachers: (N, T) float. Returns a scalar."""
    return F.l1_loss(students, teachers)

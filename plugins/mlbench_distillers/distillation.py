"""The module that all distillers build, and the distances of single images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["Distillation", "cosine_distance", "kl_divergence"]


class Distillation(nn.Module):
    """A distance between embeddings and a teacher's, both at unit length.

    Computes in float32 (float64 for float64 embeddings), under autocast too: half precision would lose the
    small differences between them.
    """

    def __init__(
        self,
        distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        widths: tuple[int, int] | None,
        weight: float,
        images: Literal["clean", "augmented"],
    ) -> None:
        """distance: from two batches of unit vectors, (N, D) and (N, T), to a scalar. widths: inputs and
        outputs of a projection of the embeddings; None for no projection."""
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


def kl_divergence(students: torch.Tensor, teachers: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """KL(softmax(teachers / temperature) || softmax(students / temperature)) over the dimensions, mean over
    the batch. students, teachers: (N, T) float. Returns a scalar."""
    own, wanted = (F.log_softmax(each / temperature, dim=1) for each in (students, teachers))
    return F.kl_div(own, wanted, reduction="batchmean", log_target=True)


def cosine_distance(students: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    """1 - cos, mean over the batch. students, teachers: (N, T) float of unit length. Returns a scalar."""
    return 1 - (students * teachers).sum(1).mean()

"""The module that the necks in `projection` build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from mlbench_necks.projection import Norm

__all__ = ["Flatten", "GlobalAveragePool", "ProjectionNeck", "Squeeze"]

_NORMS = {"bn": nn.BatchNorm1d, "ln": nn.LayerNorm}


class ProjectionNeck(nn.Module):
    """Feature maps (N, C, h, w) float to embeddings (N, dim) float.

    gather: a module from maps to vectors (N, inputs). norm: as `mlbench_necks.projection.Norm`.
    """

    def __init__(self, gather: nn.Module, inputs: int, dim: int, norm: Norm) -> None:
        super().__init__()
        self.dim = dim
        self.gather = gather
        self.projection = nn.Sequential(
            nn.Linear(inputs, dim, bias=False),
            *_norms(norm, dim),
            nn.Linear(dim, dim, bias=False),
            *_norms(norm, dim),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.projection(self.gather(features))
        return embeddings


class Flatten(nn.Module):
    """Maps (N, C, h, w) to (N, C * h * w), channel by channel whatever their layout in memory."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.flatten(1)


class GlobalAveragePool(nn.Module):
    """Maps (N, C, h, w) to their means (N, C)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((2, 3))


class Squeeze(nn.Module):
    """Maps (N, channels, h, w) to (N, kept * h * w), through a 1x1 convolution without bias."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, kept, kernel_size=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        squeezed: torch.Tensor = self.conv(features)
        return squeezed.flatten(1)


def _norms(norm: Norm, dim: int) -> list[nn.Module]:
    return [] if norm == "none" else [_NORMS[name](dim) for name in norm.split("_")]

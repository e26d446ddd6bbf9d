"""The modules that the necks in `projection` build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mlbench.plugin import TokensShape

if TYPE_CHECKING:
    from mlbench.plugin import Features
    from mlbench_necks.projection import Norm

__all__ = [
    "ClassToken",
    "FlattenPositions",
    "GeneralisedMean",
    "GlobalAveragePool",
    "PlacesAsMap",
    "ProjectionNeck",
    "SqueezeChannels",
    "on_map",
]

_NORMS = {"bn": nn.BatchNorm1d, "ln": nn.LayerNorm}


class ProjectionNeck(nn.Module):
    """Feature maps (N, C, h, w) float, or what else `gather` takes, to embeddings (N, dim) float.

    gather: a module from features to vectors (N, inputs). norm: as `mlbench_necks.projection.Norm`. layers:
    linear layers, each followed by its norm.
    """

    def __init__(
        self, gather: nn.Module, inputs: int, dim: int, norm: Norm, layers: int = 2, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.dim = dim
        self.gather = gather
        self.projection = nn.Sequential()
        for width in [inputs] + [dim] * (layers - 1):
            self.projection.extend([nn.Linear(width, dim, bias=bias), *_norms(norm, dim)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.projection(self.gather(features))
        return embeddings


def on_map(gather: nn.Module, shape: Features) -> nn.Module:
    """`gather`, which takes maps, for features of that shape."""
    return nn.Sequential(PlacesAsMap(shape), gather) if isinstance(shape, TokensShape) else gather


class PlacesAsMap(nn.Module):
    """Sequences (N, tokens + h * w, C) to maps (N, C, h, w), without the tokens in front: a view, no copy."""

    def __init__(self, shape: TokensShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        channels, height, width, tokens = self.shape
        places = features[:, tokens:].reshape(-1, height, width, channels)
        return places.permute(0, 3, 1, 2)


class ClassToken(nn.Module):
    """Sequences (N, tokens + h * w, C) to their first tokens (N, C)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, 0]


class FlattenPositions(nn.Module):
    """Maps (N, C, h, w) to (N, C * h * w), channel by channel whatever their layout in memory."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.flatten(1)


class GlobalAveragePool(nn.Module):
    """Maps (N, C, h, w) to their means (N, C)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((2, 3))


class GeneralisedMean(nn.Module):
    """Maps (N, C, h, w) to (mean of x^p)^(1/p), (N, C) float32, with a learnt p. What is below 1e-6 counts as
    that."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor([power]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # The power, a float32 vector, makes half precision float32: its 1e-6 ** 3 would be 0.
        powers = features.clamp(min=1e-6).pow(self.power)
        return powers.mean((2, 3)).pow(1 / self.power)


class SqueezeChannels(nn.Module):
    """Maps (N, channels, h, w) to (N, kept * h * w), through a 1x1 convolution without bias."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, kept, kernel_size=1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        squeezed: torch.Tensor = self.conv(features)
        return squeezed.flatten(1)


def _norms(norm: Norm, dim: int) -> list[nn.Module]:
    return [] if norm == "none" else [_NORMS[name](dim) for name in norm.split("_")]

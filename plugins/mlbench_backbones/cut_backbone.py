"""A backbone as a sequence of layers, cut into a frozen and a trained part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from mlbench.plugin import Features, OptionError, TokensShape, hint
from mlbench_backbones.sequence import Layers, sequential

__all__ = ["AsMap", "AsTokens", "AsVector", "BackboneLayers", "CutBackbone", "cut_index"]


class BackboneLayers(NamedTuple):
    """A network's layers in order, how many of them `trainable_from` may name, and the output's shape."""

    layers: Layers
    named: int
    shape: Features


class CutBackbone(nn.Module):
    """Maps images (N, 3, H, W) float to features, through `frozen` and then `trained`.

    cut: index of the first trained layer. mean, std, weights, weights_licence: see
    `mlbench.plugin.Backbone`.
    """

    def __init__(
        self,
        layers: BackboneLayers,
        cut: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        weights: str,
        weights_licence: str = "",
    ) -> None:
        super().__init__()
        self.frozen: nn.Module = sequential(layers.layers[:cut])
        self.trained: nn.Module = sequential(layers.layers[cut:])
        self.feature_shape = layers.shape
        self.mean: tuple[float, float, float] = (mean[0], mean[1], mean[2])
        self.std: tuple[float, float, float] = (std[0], std[1], std[2])
        self.weights = weights
        self.weights_licence = weights_licence

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.trained(self.frozen(images))
        return features


class AsMap(nn.Module):
    """Sequences (N, tokens + h * w, C), or maps (N, h, w, C), to maps (N, C, h, w), without a copy."""

    def __init__(self, shape: TokensShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        channels, height, width, tokens = self.shape
        if features.ndim == 3:
            features = features[:, tokens:].reshape(-1, height, width, channels)
        return features.permute(0, 3, 1, 2)


class AsTokens(nn.Module):
    """Maps (N, C, h, w), or (N, h, w, C) where channels come last, to sequences (N, h * w, C)."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.flatten(1, 2) if self.channels_last else features.flatten(2).transpose(1, 2)


class AsVector(nn.Module):
    """Vectors (N, C) to maps (N, C, 1, 1)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :, None, None]


def cut_index(
    owner: str, model: str, layers: BackboneLayers, trainable_from: str, *, advice: str = ""
) -> int:
    """Index of the first layer to train: 0 for "all", the number of layers for "none", else the first layer
    that is `trainable_from` or inside it.

    timm names children of some feature networks `stages_3` where the model has `stages.3`; both are accepted.
    owner: first words of an error, such as "backbone timm". advice: the name that the user probably meant,
    instead of one with a similar spelling.
    Raises OptionError for a name that is neither a layer nor a group of layers.
    """
    if trainable_from == "all":
        return 0
    if trainable_from == "none":
        return len(layers.layers)
    names = [name for name, _ in layers.layers[: layers.named]]
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            first.setdefault(".".join(parts[:depth]), index)
    for name, index in first.items():
        if name.replace(".", "_") == trainable_from.replace(".", "_"):
            return index
    if len(names) < 2:
        raise OptionError(
            f"{owner}: {model} is not a sequence of layers and cannot be cut at {trainable_from!r}; "
            "expected all or none",
            "trainable_from",
        )
    expected = f"in timm that is {advice!r}" if advice else hint(trainable_from, ["all", "none", *first])
    raise OptionError(
        f"{owner}: {model} has no layer {trainable_from!r} to train from ({expected})", "trainable_from"
    )

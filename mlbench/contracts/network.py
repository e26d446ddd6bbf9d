"""The network: backbones and necks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlbench.contracts.shapes import Features

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Backbone", "Neck"]


class Backbone(Protocol):
    """Images (N, 3, H, W) float32, already normalised with `mean` and `std`, to maps (N, C, h, w)
    or, where `feature_shape` has tokens, to sequences (N, tokens + h * w, C).

    A torch.nn.Module in two parts, `forward(x) == trained(frozen(x))`. `frozen` is the prefix that training
    does not change (an empty nn.Sequential when everything is trained); mlbench runs it without gradient in
    evaluation mode. `trained` is the rest (empty when everything is frozen). mean, std: per channel, for
    images in [0, 1]. weights: origin of the initial weights, in words, for the record. It may have
    `weights_licence`, the licence of these weights as Hugging Face writes it ("apache-2.0"), for the model
    card of an export.
    """

    @property
    def frozen(self) -> nn.Module: ...
    @property
    def trained(self) -> nn.Module: ...
    @property
    def feature_shape(self) -> Features: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...
    @property
    def weights(self) -> str: ...

    def __call__(self, images: torch.Tensor) -> torch.Tensor: ...


class Neck(Protocol):
    """Feature maps (N, C, h, w), or sequences as the backbone gives them, to embeddings (N, dim).

    A torch.nn.Module. The embeddings may have any length: mlbench normalises them before comparing.
    """

    @property
    def dim(self) -> int: ...

    def __call__(self, features: torch.Tensor) -> torch.Tensor: ...

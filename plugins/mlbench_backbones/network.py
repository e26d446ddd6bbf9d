"""The module that the timm backbone is: a sequence of layers, cut in two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from timm.models import FeatureHookNet
from torch import nn

from mlbench.contracts import FeatureShape
from mlbench.errors import OptionError, hint

__all__ = ["LastMap", "TimmBackbone", "cut_index", "feature_shape", "last_map", "layers_of"]

Layers = Sequence[tuple[str, nn.Module]]


class LastMap(NamedTuple):
    """What timm says of a feature network's last map. stride: pixels of the image from one position to the
    next."""

    channels: int
    stride: int


class TimmBackbone(nn.Module):
    """Images (N, 3, H, W) float to feature maps (N, C, h, w), through `frozen` and then `trained`.

    layers: name and module of each layer, in order. cut: index of the first layer that is trained.
    feature_shape, mean, std, weights: as `mlbench.contracts.Backbone` says.
    """

    def __init__(
        self,
        layers: Layers,
        cut: int,
        *,
        feature_shape: FeatureShape,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: str,
    ) -> None:
        super().__init__()
        self.frozen = _sequential(layers[:cut])
        self.trained = _sequential(layers[cut:])
        self.feature_shape = feature_shape
        self.mean = mean
        self.std = std
        self.weights = weights

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.trained(self.frozen(images))
        return features


def layers_of(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each layer, in order: the network's children, with nn.Sequentials opened."""
    for name, child in network.named_children():
        if type(child) is nn.Sequential:
            yield from layers_of(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def last_map(network: nn.Module) -> LastMap:
    """Channels and stride of the last map of timm's feature `network`."""
    information: Any = network.feature_info
    return LastMap(information.channels()[-1], information.reduction()[-1])


def feature_shape(model: str, network: nn.Module, image_size: int) -> FeatureShape:
    """Shape of the last map of timm's feature `network` for square images, by running it.

    Raises OptionError if it cannot take images of that size, or if it is more than its layers one after
    another (`layers_of`), so that no cut would compute the same.
    """
    images = torch.linspace(-1, 1, 3 * image_size**2).view(1, 3, image_size, image_size)
    training = network.training
    network.eval()
    with torch.no_grad():
        try:
            expected = network(images)[-1]
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OptionError(
                f"backbone timm: {model} cannot take images of {image_size} px ({reason})", "model"
            ) from error
        same = _is_sequence(network, images, expected)
    network.train(training)
    if not same:
        raise OptionError(
            f"backbone timm: {model} is not a sequence of layers that ends in a feature map, so it cannot be "
            "cut into a frozen and a trained part; choose a convolutional model",
            "model",
        )
    return FeatureShape(*expected.shape[1:])


def _is_sequence(network: nn.Module, images: torch.Tensor, expected: torch.Tensor) -> bool:
    # Its hooks stay in the layers and would keep every map alive.
    if isinstance(network, FeatureHookNet):
        return False
    try:
        features = _sequential(list(layers_of(network)))(images)
    # Modules that are not meant to run one after another fail in any way they like.
    except Exception:
        return False
    return (
        isinstance(features, torch.Tensor)
        and features.ndim == 4
        and features.shape == expected.shape
        and features.shape[1] == last_map(network).channels
        and torch.allclose(features, expected, equal_nan=True)
    )


def cut_index(model: str, names: Sequence[str], trainable_from: str) -> int:
    """Index of the first layer to train: 0 for "all", len(names) for "none", else the first layer that is
    `trainable_from` or lies in it.

    timm names the children of some feature networks `stages_3`, where the model has `stages.3`: either is
    understood. Raises OptionError for a name that is neither a layer nor has layers in it.
    """
    if trainable_from == "all":
        return 0
    if trainable_from == "none":
        return len(names)
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            first.setdefault(".".join(parts[:depth]), index)
    for name, index in first.items():
        if name.replace(".", "_") == trainable_from.replace(".", "_"):
            return index
    raise OptionError(
        f"backbone timm: {model} has no layer {trainable_from!r} to train from "
        f"({hint(trainable_from, ['all', 'none', *first])})",
        "trainable_from",
    )


def _sequential(layers: Layers) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, layer in layers:
        sequence.add_module(name.replace(".", "_"), layer)
    return sequence

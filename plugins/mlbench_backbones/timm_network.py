"""A timm model as layers whose output is a map, a sequence of tokens or a pooled vector."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from timm.models import FeatureHookNet
from torch import nn

from mlbench.plugin import FeatureShape, OptionError, TokensShape
from mlbench_backbones.cut_backbone import AsMap, AsTokens, AsVector, BackboneLayers
from mlbench_backbones.sequence import (
    Layers,
    MethodLayer,
    called_layers,
    layers_of,
    sequence_of,
    sequential,
    without_layers,
)

__all__ = ["ModelParts", "has_feature_map", "layers_for", "split_model", "token_layout"]


class ModelParts(NamedTuple):
    """A whole model split into `body`, without the layers that only the head calls, and `head`.

    features: output of the body. first: name of the head's first layer with parameters, else "head".
    vectors: the pooled features (N, C), None if the model has none.
    """

    body: Any
    features: Any
    head: nn.Module
    first: str
    vectors: torch.Tensor | None


@cache
def has_feature_map(model: str) -> bool:
    """Whether timm's feature network of `model` is a sequence of layers that ends in its last map; if not,
    the map comes from the whole model.

    Computed on the meta device, without memory for weights, at the model's default image size.
    """
    import timm

    try:
        with torch.device("meta"):
            network = timm.create_model(model, features_only=True).eval()
    # timm raises various exceptions for a model without feature maps.
    except Exception:
        return False
    # Getters and hook networks run the whole model and keep every map. The getter's child is the model.
    getter = any(hasattr(child, "forward_intermediates") for child in network.children())
    if getter or isinstance(network, FeatureHookNet):
        return False
    configuration: Any = network.pretrained_cfg
    size = configuration["input_size"][-1]
    information: Any = network.feature_info
    images = torch.empty(1, 3, size, size, device="meta")
    try:
        with torch.no_grad():
            shapes = [sequential(list(layers_of(network)))(images).shape, network(images)[-1].shape]
    # Modules that do not form a sequence may raise anything.
    except Exception:
        return False
    return shapes[0] == shapes[1] and len(shapes[0]) == 4 and shapes[0][1] == information.channels()[-1]


def layers_for(
    model: str, network: nn.Module, output: str, image_size: int, *, device: str = "cpu"
) -> BackboneLayers:
    """The layers of timm's `network` of `model` up to an output: map, tokens or pooled.

    network: the feature network if `has_feature_map` and the output is not pooled, else the whole model
    without its classifier.
    Raises OptionError if the network does not accept images of that size or has no such output.
    """
    images = torch.linspace(-1, 1, 3 * image_size**2, device=device).view(1, 3, image_size, image_size)
    make = _of_model if hasattr(network, "forward_features") else _of_features
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return make(model, network, output, images)
    except (RuntimeError, AssertionError, ValueError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionError(
            f"backbone timm: {model} cannot take images of {image_size} px ({reason})", "model"
        ) from error
    finally:
        network.train(training)


def split_model(network: Any, images: torch.Tensor) -> ModelParts:
    """Split a whole model into body and head; runs each once on `images`."""
    names, features = called_layers(network.forward_features, network, images)
    try:
        in_head, vectors = called_layers(network.forward_head, network, features)
    # timm raises various exceptions for a model without a head.
    except Exception:
        in_head, vectors = [], None
    body = without_layers(network, set(in_head) - set(names))
    # The head has only the parameters of its layers; the model's direct parameters belong to the body.
    head = without_layers(network, {name for name, _ in layers_of(network)} - set(in_head))
    head._parameters, head._buffers = {}, {}
    if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2:
        vectors = None
    first = next((n for n in in_head if any(True for _ in network.get_submodule(n).parameters())), "head")
    return ModelParts(body, features, head, first, vectors)


def token_layout(network: Any, features: Any) -> TokensShape | None:
    """Map size and number of prefix tokens in the whole model's `features`; None if they are neither a map
    nor prefix tokens followed by a map row by row."""
    if not isinstance(features, torch.Tensor) or hasattr(network, "reroll"):  # hiera's tokens are shuffled
        return None
    if features.ndim == 4:
        _, *sides, channels = features.shape
        if not _channels_last(network, features):
            channels, *sides = features.shape[1:]
        return TokensShape(channels, sides[0], sides[1], 0)
    if features.ndim != 3:
        return None
    tokens = getattr(network, "num_prefix_tokens", None)
    if tokens is None:
        token = getattr(network, "cls_token", None)
        tokens = 0 if token is None else token.shape[-2]
    side = round(max(0, features.shape[1] - tokens) ** 0.5)
    if side == 0 or side * side != features.shape[1] - tokens:
        return None
    return TokensShape(features.shape[2], side, side, tokens)


def _of_model(model: str, network: Any, output: str, images: torch.Tensor) -> BackboneLayers:
    parts = split_model(network, images)
    layers = sequence_of(parts.body, "forward_features", images)
    if output == "pooled":
        return _pooled(model, network, layers, parts, images)
    place = token_layout(network, parts.features)
    if place is None:
        raise OptionError(
            f"backbone timm: {model} has no {output} in spatial order; set output to pooled",
            "output",
        )
    layers = layers or [("model", MethodLayer(parts.body, "forward_features"))]
    named = len(layers)
    channels_last = _channels_last(network, parts.features)
    if output == "tokens":
        if parts.features.ndim == 4:
            layers.append(("as_tokens", AsTokens(channels_last=channels_last)))
        return BackboneLayers(layers, named, place)
    if parts.features.ndim == 3 or channels_last:
        layers.append(("as_map", AsMap(place)))
    return BackboneLayers(layers, named, FeatureShape(*place[:3]))


def _pooled(
    model: str,
    network: Any,
    layers: list[tuple[str, nn.Module]] | None,
    parts: ModelParts,
    images: torch.Tensor,
) -> BackboneLayers:
    if parts.vectors is None:
        raise OptionError(
            f"backbone timm: {model} has no pooled features; set output to map or tokens", "output"
        )
    if layers is not None:
        layers.append((parts.first, MethodLayer(parts.head, "forward_head")))
        if not _computes(layers, images, parts.vectors):
            layers = None
    layers = layers or [("model", network)]
    shape = FeatureShape(parts.vectors.shape[1], 1, 1)
    return BackboneLayers([*layers, ("as_vector", AsVector())], len(layers), shape)


def _of_features(model: str, network: Any, output: str, images: torch.Tensor) -> BackboneLayers:
    expected = network(images)[-1]
    layers = list(layers_of(network))
    if not _computes(layers, images, expected):
        raise AssertionError("its layers in sequence give another output")
    shape = FeatureShape(*expected.shape[1:])
    if output == "map":
        return BackboneLayers(layers, len(layers), shape)
    adapted = [*layers, ("as_tokens", AsTokens(channels_last=False))]
    return BackboneLayers(adapted, len(layers), TokensShape(*shape, 0))


def _computes(layers: Layers, images: torch.Tensor, expected: torch.Tensor) -> bool:
    try:
        given = sequential(layers)(images)
    # Layers that do not form a sequence may raise anything.
    except Exception:
        return False
    return given.shape == expected.shape and (
        given.is_meta or torch.allclose(given, expected, equal_nan=True)
    )


def _channels_last(network: Any, features: torch.Tensor) -> bool:
    width = network.num_features
    return features.ndim == 4 and features.shape[-1] == width and features.shape[1] != width

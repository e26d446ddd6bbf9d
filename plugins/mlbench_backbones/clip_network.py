"""An open_clip image tower as layers that end in an embedding, a sequence of tokens or a map."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from mlbench.plugin import FeatureShape, OptionError, TokensShape
from mlbench_backbones.checkpoint import reason_of
from mlbench_backbones.cut_backbone import AsMap, AsTokens, AsVector, BackboneLayers
from mlbench_backbones.sequence import MethodLayer, sequence_of, sequential, without_layers
from mlbench_backbones.timm_network import layers_for

__all__ = ["layers_of_tower"]

_OWNER = "backbone open_clip"


class TowerHead(nn.Module):
    """The last layers of a transformer tower: tokens (N, 1 + h * w, C) to embeddings (N, D)."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = without_layers(tower, {"conv1", "patch_dropout", "ln_pre", "transformer"})
        self.tower._parameters = {"proj": tower.proj}

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tower: Any = self.tower
        pooled: torch.Tensor = tower._pool(tokens)[0]
        return pooled if tower.proj is None else pooled @ tower.proj


def layers_of_tower(model: str, tower: nn.Module, output: str, image_size: int) -> BackboneLayers:
    """The tower's layers up to an output: pooled, tokens or map.

    Raises OptionError if the tower does not accept images of that size or has no such output.
    """
    images = torch.linspace(-1, 1, 3 * image_size**2).view(1, 3, image_size, image_size)
    training = tower.training
    tower.eval()
    try:
        with torch.no_grad():
            if isinstance(tower, VisionTransformer):
                return _of_transformer(tower, output)
            if isinstance(tower, TimmModel):
                return _of_timm(model, tower, output, images)
            return _of_resnet(tower, output, images)
    except (RuntimeError, AssertionError, ValueError, IndexError, TypeError) as error:
        raise OptionError(
            f"{_OWNER}: {model} cannot take images of {image_size} px ({reason_of(error)})", "model"
        ) from error
    finally:
        tower.train(training)


def _of_transformer(tower: Any, output: str) -> BackboneLayers:
    height, width = tower.grid_size
    channels = tower.conv1.out_channels
    embed = without_layers(tower, {"transformer", "attn_pool", "attn_pool_contrastive", "ln_post"})
    embed._parameters = {name: p for name, p in tower._parameters.items() if name != "proj"}
    layers: list[tuple[str, nn.Module]] = [("conv1", MethodLayer(embed, "_embeds"))]
    layers += [(f"transformer.resblocks.{i}", block) for i, block in enumerate(tower.transformer.resblocks)]
    if output == "pooled":
        layers.append(("ln_post", TowerHead(tower)))
        return BackboneLayers([*layers, ("as_vector", AsVector())], len(layers), _vector(tower.output_dim))
    if tower.attn_pool is None:  # otherwise the norm applies to pooled vectors
        layers.append(("ln_post", tower.ln_post))
    place = TokensShape(channels, height, width, 1)
    if output == "tokens":
        return BackboneLayers(layers, len(layers), place)
    return BackboneLayers(
        [*layers, ("as_map", AsMap(place))], len(layers), FeatureShape(channels, height, width)
    )


def _of_resnet(tower: Any, output: str, images: torch.Tensor) -> BackboneLayers:
    layers = sequence_of(tower, "forward", images)
    if layers is None:
        raise AssertionError("its layers in sequence give another output")
    if output == "pooled":
        return BackboneLayers([*layers, ("as_vector", AsVector())], len(layers), _vector(tower.output_dim))
    layers = layers[:-1]  # the last layer pools
    shape = FeatureShape(*sequential(layers)(images).shape[1:])
    if output == "map":
        return BackboneLayers(layers, len(layers), shape)
    adapted = [*layers, ("as_tokens", AsTokens(channels_last=False))]
    return BackboneLayers(adapted, len(layers), TokensShape(*shape, 0))


def _of_timm(model: str, tower: Any, output: str, images: torch.Tensor) -> BackboneLayers:
    if output != "pooled":
        trunk = layers_for(model, tower.trunk, output, images.shape[-1])
        return trunk._replace(layers=_prefixed(trunk))
    vectors = tower(images)
    try:
        trunk = layers_for(model, tower.trunk, "pooled", images.shape[-1])
        layers = _prefixed(trunk)[: trunk.named]
        layers += [(f"head.{name}", layer) for name, layer in tower.head.named_children()]
    # The trunk leaves pooling to the head.
    except OptionError:
        layers = sequence_of(tower, "forward", images) or [("model", tower)]
    if not torch.allclose(sequential(layers)(images), vectors, equal_nan=True):
        layers = [("model", tower)]
    return BackboneLayers([*layers, ("as_vector", AsVector())], len(layers), _vector(vectors.shape[1]))


def _prefixed(trunk: BackboneLayers) -> list[tuple[str, nn.Module]]:
    """The trunk's layers under their names in the tower."""
    return [(f"trunk.{name}", layer) for name, layer in trunk.layers]


def _vector(width: int) -> FeatureShape:
    return FeatureShape(width, 1, 1)

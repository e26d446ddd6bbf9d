"""Any timm model as a backbone, trained from a layer of choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mlbench.contracts import BackboneShape
from mlbench.errors import OptionError
from mlbench_backbones.keras_names import timm_name
from mlbench_backbones.table import plain_name, predict_shape
from mlbench_backbones.weights import check_model, check_weights, load_network, weights_version

if TYPE_CHECKING:
    from mlbench_backbones.network import CutBackbone
    from mlbench_backbones.sequence import Layers

__all__ = ["DropPath", "Output", "predict_timm_backbone", "timm_backbone"]

#: What a backbone gives: a map (N, C, h, w), a sequence (N, tokens + h * w, C), or a vector as a map of 1x1.
Output = Literal["map", "tokens", "pooled"]

#: Probability with which a residual branch is left out of an image's step.
DropPath = Annotated[float, Field(ge=0, lt=1)]


def timm_backbone(
    image_size: int,
    *,
    model: str = "tf_efficientnet_lite0",
    weights: str = "bundled",
    output: Output = "map",
    trainable_from: str = "all",
    drop_path: DropPath | None = None,
) -> CutBackbone:
    """A timm model without its classifier, at any image size that it can take.

    Options
    -------
    model: a timm name, with or without the tag of its weights ("resnet50", "resnet50.a1_in1k"), or as the hub
        writes it ("timm/resnet50.a1_in1k", "hf-hub:timm/resnet50.a1_in1k").
    weights: hub (timm's pretrained weights, kept in the local cache), bundled (ImageNet weights from a pip
        package, for tf_efficientnet_lite0), none (random, from torch's global generator), or the path of
        a .pth or .safetensors checkpoint of the timm model.
    output: map (the last map (C, h, w) of the convolutional stages, without the classifier and its
        convolution; of a transformer its patch tokens after the last norm, laid out as in the image, the
        class token left out), tokens (the same as a sequence (tokens + h * w, C), row by row, with the class
        token and registers in front), or pooled (the model's own pooled features, the classifier's input,
        as (C, 1, 1)).
    trainable_from: the first layer that is trained, by its timm name ("blocks.5", "layer4.1", "stages.3");
        those before it keep their weights and their batch statistics. "all" trains everything, "none"
        nothing. Keras' conv5_block1_out is layer4.1, its block7a_expand_conv is blocks.6.
    drop_path: stochastic depth: probability with which the last residual branch is left out while training
        (those before it less often), null as timm builds the model.

    Raises OptionError for a model or tag that timm does not have, for an image size that it cannot take, for
    an output or stochastic depth that it does not have, and for an unknown layer; WeightsError for weights
    that cannot be had, do not fit or were trained with another activation.
    """
    from mlbench_backbones.network import CutBackbone, cut_index
    from mlbench_backbones.timm_network import has_feature_map, layers_for

    model = plain_name(model)
    check_model(model)
    arguments: dict[str, Any] = _arguments(model, image_size)
    if output != "pooled" and has_feature_map(model):
        arguments["features_only"] = True
    else:
        arguments["num_classes"] = 0
    if drop_path is not None:
        arguments["drop_path_rate"] = drop_path
    network, origin = load_network(model, weights, **arguments)
    layers, named, shape = layers_for(model, network, output, image_size)
    if drop_path:
        _check_drop_path(model, layers)
    names = [name for name, _ in layers[:named]]
    cut = cut_index("backbone timm", model, names, trainable_from, advice=timm_name(trainable_from))
    configuration: Any = network.pretrained_cfg
    return CutBackbone(
        layers,
        len(layers) if trainable_from == "none" else cut,
        feature_shape=shape,
        mean=configuration["mean"],
        std=configuration["std"],
        weights=origin,
    )


def predict_timm_backbone(
    image_size: int,
    *,
    model: str = "tf_efficientnet_lite0",
    weights: str = "bundled",
    output: Output = "map",
    trainable_from: str = "all",
    drop_path: DropPath | None = None,
) -> BackboneShape:
    """What `timm_backbone` would build, without torch; sizes are None where only building it can tell.

    Raises OptionError and WeightsError as it does, but for what only building can show: a layer's name,
    and whether a file's or the hub's weights fit.
    """
    model = plain_name(model)
    shape = predict_shape(model, image_size, output, drop_path=drop_path is not None)
    check_weights(model, weights)
    version = weights_version(model, weights)
    if shape is None:
        return BackboneShape(None, None, version)
    return shape._replace(version=version)


def _arguments(model: str, image_size: int) -> dict[str, Any]:
    """What timm must be told of the image size: models with learnt positions are built for one."""
    import timm

    try:
        configuration = timm.get_pretrained_cfg(model)
    # A tag that timm does not know; building says so.
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

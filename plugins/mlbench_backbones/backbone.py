"""Any convolutional timm model as a backbone, trained from a layer of choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlbench.contracts import BackboneShape
from mlbench_backbones.table import predict_shape
from mlbench_backbones.weights import check_weights, load_network, weights_version

if TYPE_CHECKING:
    from mlbench_backbones.network import TimmBackbone

__all__ = ["predict_timm_backbone", "timm_backbone"]


def timm_backbone(
    image_size: int,
    *,
    model: str = "tf_efficientnet_lite0",
    weights: str = "bundled",
    trainable_from: str = "all",
) -> TimmBackbone:
    """The last map of a timm model's feature stages, which leaves out the classifier and its convolution.

    Options
    -------
    model: a timm name, with or without the tag of its weights ("resnet50", "resnet50.a1_in1k").
    weights: hub (timm's pretrained weights, kept in the local cache), bundled (ImageNet weights from a pip
        package, for tf_efficientnet_lite0), none (random, from torch's global generator), or the path of
        a .pth or .safetensors checkpoint of the timm model.
    trainable_from: the first layer that is trained, by its timm name ("blocks.5", "layer4.1"); those before
        it keep their weights and their batch statistics. "all" trains everything, "none" nothing.

    Raises OptionError for a model that timm does not have or that is no sequence of layers ending in a
    feature map, for an image size that it cannot take, and for an unknown layer; WeightsError for weights
    that cannot be had or do not fit.
    """
    from mlbench_backbones.network import TimmBackbone, cut_index, feature_shape, layers_of

    network, origin = load_network(model, weights)
    shape = feature_shape(model, network, image_size)
    layers = list(layers_of(network))
    configuration: Any = network.pretrained_cfg
    return TimmBackbone(
        layers,
        cut_index(model, [name for name, _ in layers], trainable_from),
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
    trainable_from: str = "all",
) -> BackboneShape:
    """What `timm_backbone` would build, without torch; sizes are None where only building it can tell.

    Raises OptionError and WeightsError as it does, but for what only building can show: a layer's name,
    and whether a file's or the hub's weights fit.
    """
    shape = predict_shape(model, image_size)
    check_weights(model, weights)
    version = weights_version(weights)
    if shape is None:
        return BackboneShape(None, None, version)
    return shape._replace(version=version)

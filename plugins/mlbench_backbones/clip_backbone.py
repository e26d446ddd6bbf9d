"""The image tower of any open_clip model as a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlbench.contracts import BackboneShape
from mlbench_backbones.backbone import Output
from mlbench_backbones.clip_config import predict_tower, read_config
from mlbench_backbones.clip_weights import check_clip_weights, clip_weights_version, load_tower

if TYPE_CHECKING:
    from mlbench_backbones.network import CutBackbone

__all__ = ["open_clip_backbone", "predict_open_clip_backbone"]


def open_clip_backbone(
    image_size: int,
    *,
    model: str = "ViT-B-32",
    weights: str = "openai",
    quick_gelu: bool | None = None,
    output: Output = "pooled",
    trainable_from: str = "all",
) -> CutBackbone:
    """The image tower of an open_clip model (arXiv:2103.00020, arXiv:2212.07143).

    Options
    -------
    model: open_clip's name of it ("ViT-B-32", "RN50", "ViT-B-16-SigLIP").
    weights: a tag of open_clip ("openai", "laion2b_s34b_b79k"), from the local cache or else the hub; none
        (random, from torch's global generator); or the path of a .pt, .pth, .bin or .safetensors checkpoint
        of the open_clip model, whose text tower may be missing, or as OpenAI publishes it.
    quick_gelu: whether the activation is QuickGELU. null for what the tag says, or OpenAI's file, or else the
        model's name; a file that says nothing, of a model that is there with both, is refused.
    output: pooled (the image embedding, projected as for the text, (D, 1, 1)), tokens (the transformer's
        tokens after its last norm, (1 + h * w, C), the class token first), or map (the patch tokens laid out
        as in the image, or the ResNet's last map, (C, h, w)).
    trainable_from: the first layer that is trained, by its name in the tower ("transformer.resblocks.10",
        "layer4.1", and "trunk.blocks.10" or "trunk.stages.3" where the tower is a timm model). "all" trains
        everything, "none" nothing.

    Raises OptionError for a model that open_clip does not have, an image size or output that its tower cannot
    give, and an unknown layer; WeightsError for weights that cannot be had or do not fit.
    """
    from mlbench_backbones.clip_network import layers_of_tower
    from mlbench_backbones.network import CutBackbone, cut_index

    predict_tower(read_config(model), image_size, output)
    check_clip_weights(model, weights, quick_gelu)
    tower, mean, std, origin = load_tower(model, weights, image_size, quick_gelu)
    layers, named, shape = layers_of_tower(model, tower, output, image_size)
    names = [name for name, _ in layers[:named]]
    cut = cut_index("backbone open_clip", model, names, trainable_from)
    return CutBackbone(
        layers,
        len(layers) if trainable_from == "none" else cut,
        feature_shape=shape,
        mean=mean,
        std=std,
        weights=origin,
    )


def predict_open_clip_backbone(
    image_size: int,
    *,
    model: str = "ViT-B-32",
    weights: str = "openai",
    quick_gelu: bool | None = None,
    output: Output = "pooled",
    trainable_from: str = "all",
) -> BackboneShape:
    """What `open_clip_backbone` would build, without torch; None where only building it can tell.

    Raises OptionError and WeightsError as it does, but for what only building can show: a layer's name, and
    whether weights can be had and fit.
    """
    shape = predict_tower(read_config(model), image_size, output)
    check_clip_weights(model, weights, quick_gelu)
    return shape._replace(version=clip_weights_version(model, weights))

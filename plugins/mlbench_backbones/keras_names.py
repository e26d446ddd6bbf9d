"""What layers of Keras' ResNets and EfficientNets are called in timm, for readers who come from there."""

from __future__ import annotations

import re

__all__ = ["timm_name"]


def timm_name(layer: str) -> str:
    """timm's name of the layer at which a network is cut in the same place; "" where none is known.

    "conv5_block1_out", the end of a block, is before "layer4.1"; "block7a_expand_conv" is the beginning of
    "blocks.6.0", so of EfficientNetV2-L's last stage, which the head's convolution follows.
    """
    if found := re.fullmatch(r"conv([2-5])_block(\d+)_out", layer):
        return f"layer{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"block([1-7])([a-z])_(?:expand_conv|dwconv2?)", layer):
        return f"blocks.{int(found[1]) - 1}.{ord(found[2]) - ord('a')}"
    return ""

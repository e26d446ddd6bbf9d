"""timm's names for layers of Keras' ResNets and EfficientNets."""

from __future__ import annotations

import re

__all__ = ["timm_name"]


def timm_name(layer: str) -> str:
    """Name of the timm layer that cuts a network where the Keras layer does; "" for an unknown layer.

    "conv5_block1_out" ends the block before "layer4.1"; "block7a_expand_conv" begins "blocks.6.0", the last
    stage of EfficientNetV2-L before the head's convolution.
    """
    if found := re.fullmatch(r"conv([2-5])_block(\d+)_out", layer):
        return f"layer{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"block([1-7])([a-z])_(?:expand_conv|dwconv2?)", layer):
        return f"blocks.{int(found[1]) - 1}.{ord(found[2]) - ord('a')}"
    return ""

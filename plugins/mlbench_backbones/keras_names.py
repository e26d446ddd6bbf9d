"""timm names of layers of Keras' ResNets and EfficientNets, for error messages."""

from __future__ import annotations

import re

__all__ = ["timm_name"]


def timm_name(layer: str) -> str:
    """timm name of the first trained layer for a network cut at this Keras layer; "" where none is known.

    "conv5_block1_out", the end of a block, is followed by "layer4.1"; "block7a_expand_conv" is the beginning
    of "blocks.6.0", in EfficientNetV2-L the last stage before the head's convolution.
    """
    if found := re.fullmatch(r"conv([2-5])_block(\d+)_out", layer):
        return f"layer{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"block([1-7])([a-z])_(?:expand_conv|dwconv2?)", layer):
        return f"blocks.{int(found[1]) - 1}.{ord(found[2]) - ord('a')}"
    return ""

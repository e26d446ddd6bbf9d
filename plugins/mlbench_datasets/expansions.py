"""The classes that one document becomes: turned, flipped upside down, and halved.

An image becomes up to 24 classes: rotated by 0, 90, 180 and 270 degrees, with and without a vertical flip,
and of each of these 8 the whole image, its top half and its bottom half. (A horizontal flip would repeat one
of the 8: it is the vertical flip of another rotation.)
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

__all__ = ["EXPANSIONS", "Expand", "expansion", "expansion_name", "repeated_expansions"]

#: Number of classes made of a document: 1, 8 (turned and flipped) or 24 (halves as well).
Expand = Literal[1, 8, 24]

_TURNS = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)

#: The 24 expansions, as (quarter turns anticlockwise, flipped upside down, part): the 8 whole ones first.
EXPANSIONS = tuple(
    (turns, flip, part) for part in ("whole", "top", "bottom") for flip in (False, True) for turns in range(4)
)

_COMPARED_SIDE = 32
# Mean difference, in grey levels, below which two expansions count as equal: less than the noise of a
# low-quality JPEG.
_SAME = 2.0


def expansion(image: Image.Image, number: int) -> Image.Image:
    """Expansion `number` of an image; see `EXPANSIONS`. Its size is that of the image, with sides exchanged
    by a quarter turn; a half is stretched to the size of the whole."""
    turns, flip, part = EXPANSIONS[number]
    turn = _TURNS[turns]
    if turn is not None:
        image = image.transpose(turn)
    if flip:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if part == "whole":
        return image
    width, height = image.size
    half = height // 2
    box = (0, 0, width, half) if part == "top" else (0, height - half, width, height)
    return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)


def expansion_name(number: int) -> str:
    """Name of an expansion, such as "90-flipped-top"."""
    turns, flip, part = EXPANSIONS[number]
    return f"{90 * turns}{'-flipped' if flip else ''}{'' if part == 'whole' else f'-{part}'}"


def repeated_expansions(image: Image.Image) -> int:
    """The expansions of an image that look like an earlier one: bit i stands for expansion i."""
    # Imported late: a plan of rendered documents needs no NumPy.
    import numpy as np

    square = image.resize((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    shown: list[np.ndarray] = []
    repeated = 0
    for number in range(len(EXPANSIONS)):
        pixels = np.asarray(expansion(square, number), dtype=np.float32)
        if any(np.abs(pixels - earlier).mean() < _SAME for earlier in shown):
            repeated |= 1 << number
        shown.append(pixels)
    return repeated

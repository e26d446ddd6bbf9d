"""Preprocessing of images of any shape to the square input of a network.

Uses only Pillow, so that a deployed model can repeat the preprocessing of training.
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

__all__ = ["PADDING", "Resize", "centre_crop", "to_square"]

#: How to make an image square; see `mlbench.planning.spec.ImageSettings`.
Resize = Literal["squash", "crop", "pad"]

#: Images that would have more pixels when padded are resized first; 400 MB as RGB.
_MOST_PIXELS = 1 << 27

#: Grey level of the padding, the middle of the range.
PADDING = 128


def to_square(image: Image.Image, size: int, resize: str) -> Image.Image:
    """Convert an RGB image to a square with sides of `size` pixels.

    resize: see `mlbench.planning.spec.ImageSettings`. Interpolation is bilinear, with antialiasing when the
    image gets smaller, as in torchvision.
    """
    width, height = image.size
    if resize == "crop":
        side = min(width, height)
        image = _cut(image, side, side)
    elif resize == "pad" and width != height:
        side = max(width, height)
        if side * side > _MOST_PIXELS:  # a long strip, whose square would not fit in memory
            width, height = (max(1, round(each * size / side)) for each in (width, height))
            image, side = image.resize((width, height), Image.Resampling.BILINEAR), size
        padded = Image.new("RGB", (side, side), (PADDING,) * 3)
        padded.paste(image, ((side - width) // 2, (side - height) // 2))
        image = padded
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, ratio: float) -> Image.Image:
    """Crop the centre of `image` with this share of its height and width."""
    if ratio == 1:
        return image
    return _cut(image, max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))


def _cut(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))

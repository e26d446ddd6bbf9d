"""Preprocessing: from an image of any shape to the square that a network sees, by Pillow alone, so that a
deployed model can do what training did."""

from __future__ import annotations

from typing import Literal

from PIL import Image

__all__ = ["PADDING", "Resize", "centre_crop", "to_square"]

#: A way to make an image square; see `mlbench.planning.spec.ImageSettings`.
Resize = Literal["squash", "crop", "pad"]

#: Most pixels of a padded image that is not made smaller before: 400 MB as RGB.
_MOST_PIXELS = 1 << 27

#: Grey that fills up a padded image, the middle of what the usual normalisations expect.
PADDING = 128


def to_square(image: Image.Image, size: int, resize: str) -> Image.Image:
    """`image` (RGB) as a square of `size` pixels; see `mlbench.planning.spec.ImageSettings` for the ways to
    `resize`.

    Resizing is bilinear and, where it makes smaller, antialiased, as torchvision does it.
    """
    width, height = image.size
    if resize == "crop":
        side = min(width, height)
        image = _cut(image, side, side)
    elif resize == "pad" and width != height:
        side = max(width, height)
        if side * side > _MOST_PIXELS:  # a long strip: the square around it would fill the memory
            width, height = (max(1, round(each * size / side)) for each in (width, height))
            image, side = image.resize((width, height), Image.Resampling.BILINEAR), size
        padded = Image.new("RGB", (side, side), (PADDING,) * 3)
        padded.paste(image, ((side - width) // 2, (side - height) // 2))
        image = padded
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, ratio: float) -> Image.Image:
    """The middle of `image` with that share of its height and width."""
    if ratio == 1:
        return image
    return _cut(image, max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))


def _cut(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))

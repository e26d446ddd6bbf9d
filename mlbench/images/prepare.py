"""Preparation of an image file for a deployed model, as images are prepared in training."""

from __future__ import annotations

import numpy as np

from mlbench.images.decode import Box, decode
from mlbench.images.formats import UnreadableImageError
from mlbench.images.preprocess import centre_crop, to_square

__all__ = ["prepare"]


def prepare(
    data: bytes, size: int, resize: str, crop_ratio: float, white: float | None, box: Box | None = None
) -> np.ndarray:
    """The bytes of an image file as input of a model, (3, size, size) uint8: upright, RGB and square.

    resize, crop_ratio, white: see `mlbench.deployment.card.Card`. box: the part of the upright image to use.
    Raises UnreadableImageError.
    """
    image, (width, height), _ = decode(data, short_side=2 * size, box=box, white=white)
    if box is not None and (box[2] > width + 1 or box[3] > height + 1):  # 1 for rounding
        text = ",".join(f"{edge:g}" for edge in box)
        raise UnreadableImageError(f"box {text} is not inside the image, {width}x{height} pixels")
    pixels = np.asarray(to_square(centre_crop(image, crop_ratio), size, resize))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))

"""Preparation of an image file for a deployed model, as images are prepared in training."""

from __future__ import annotations

import numpy as np

from mlbench.images.decode import decode
from mlbench.images.preprocess import centre_crop, to_square

__all__ = ["prepare"]


def prepare(data: bytes, size: int, resize: str, crop_ratio: float, white: float | None) -> np.ndarray:
    """The bytes of an image file as input of a model, (3, size, size) uint8: upright, RGB and square.

    resize, crop_ratio, white: see `mlbench.deployment.card.Card`. Raises UnreadableImageError.
    """
    image = decode(data, short_side=2 * size, white=white).image
    pixels = np.asarray(to_square(centre_crop(image, crop_ratio), size, resize))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))

"""The augmentation of DocClassifier (https://github.com/DocsaidLab/DocClassifier), with Pillow and NumPy.

Sizes of blurs are in pixels of the training image; DocClassifier uses them at 128 pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mlbench_augmentations.changes import TimmResizedCrop

__all__ = ["DocumentChanges"]

_Change = Callable[[Image.Image, np.random.Generator], Image.Image]

_SEPIA = (0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0)


@dataclass(frozen=True, slots=True)
class DocumentChanges:
    """Four groups of changes: position, blur, noise, colour. With `probability`, one change of the group is
    applied."""

    image_size: int
    probability: float

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        size = (self.image_size, self.image_size)
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        for group in _GROUPS:
            if generator.random() < self.probability:
                image = group[generator.integers(len(group))](image, generator)
        return image


def _crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return TimmResizedCrop(image.width, (0.8, 1.0), (3 / 4, 4 / 3), "bilinear")(image, generator)


def _move(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A shift by up to 0.1 of the size, a scale of 0.9 to 1.1, a rotation by up to 15 degrees; black
    outside."""
    shift_x, shift_y, scale, turn = generator.uniform(-1, 1, size=4).tolist()
    zoom, angle = 1 + 0.1 * scale, math.radians(15 * turn)
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    middle = image.width / 2
    x, y = middle + 0.1 * shift_x * image.width, middle + 0.1 * shift_y * image.width
    # The inverse map, from output to input: the point (x, y) shows the middle of the input.
    inverse = (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)
    return image.transform(image.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)


def _gaussian_blur(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(generator.uniform(0.5, 2)))


def _median_blur(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.MedianFilter(int(generator.choice((3, 5, 7)))))


def _motion_blur(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The mean along a line of 5 pixels in any direction."""
    angle, along = generator.uniform(0, math.pi), np.linspace(-2, 2, 9)
    kernel = np.zeros((5, 5))
    rows, columns = 2 + np.rint(along * math.sin(angle)), 2 + np.rint(along * math.cos(angle))
    kernel[rows.astype(int), columns.astype(int)] = 1
    return image.filter(ImageFilter.Kernel((5, 5), kernel.ravel().tolist()))


def _jpeg(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(generator.integers(5, 51)))
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def _added_noise(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    noise = generator.uniform(3, 7) * generator.standard_normal(_shape(image), dtype=np.float32)
    return _to_image(np.asarray(image) + noise)


def _multiplied_noise(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return _to_image(np.asarray(image) * (0.5 + generator.random(_shape(image), dtype=np.float32)))


def _jitter(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    brightness, contrast, saturation = (1 + generator.uniform(-1, 1, size=3) * (0.3, 0.1, 0.1)).tolist()
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = ImageEnhance.Contrast(image).enhance(contrast)
    return ImageEnhance.Color(image).enhance(saturation)


def _grey(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def _sepia(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return image.convert("RGB", _SEPIA)


def _shuffle_channels(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    channels = image.split()
    return Image.merge("RGB", [channels[place] for place in generator.permutation(3)])


def _drop_channel(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    kept = np.ones(3, dtype=np.uint8)
    kept[generator.integers(3)] = 0
    return Image.fromarray(np.asarray(image) * kept)


def _shift_colours(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return _to_image(np.asarray(image) + generator.uniform(-20, 20, size=3))


def _invert(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    return ImageOps.invert(image)


def _shape(image: Image.Image) -> tuple[int, int, int]:
    return image.height, image.width, 3


def _to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


_GROUPS: tuple[tuple[_Change, ...], ...] = (
    (_crop, _move),
    (_gaussian_blur, _median_blur, _motion_blur, _jpeg),
    (_added_noise, _multiplied_noise),
    (_jitter, _grey, _sepia, _shuffle_channels, _drop_channel, _shift_colours, _invert),
)

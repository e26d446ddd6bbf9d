"""Random changes to an image: crops, flips, and timm's RandAugment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from timm.data import auto_augment
from timm.data.transforms import RandomResizedCropAndInterpolation, str_to_pil_interp

from mlbench.plugin import Augmentation
from mlbench_augmentations.global_generators import global_generators

__all__ = ["Chain", "Flip", "ShiftedCrop", "TimmRandAugment", "TimmResizedCrop"]


@dataclass(frozen=True, slots=True)
class Chain:
    """Several changes in sequence."""

    changes: tuple[Augmentation, ...]

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        for change in self.changes:
            image = change(image, generator)
        return image


@dataclass(frozen=True, slots=True)
class Flip:
    """Horizontal flip with this probability."""

    probability: float

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        flipped = generator.random() < self.probability
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else image


@dataclass(frozen=True, slots=True)
class ShiftedCrop:
    """Padding with `fill` on every side, then a crop of the old size at a random position.

    pad: pixels for an image of `image_size`; other sizes are padded in proportion.
    """

    image_size: int
    pad: int
    fill: tuple[int, int, int]

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        width, height = image.size
        pads = round(self.pad * width / self.image_size), round(self.pad * height / self.image_size)
        left, top = generator.integers(0, [2 * pads[0] + 1, 2 * pads[1] + 1]).tolist()
        padded = ImageOps.expand(image, pads, self.fill)
        return padded.crop((left, top, left + width, top + height))


class TimmResizedCrop:
    """timm's random resized crop (Szegedy et al., arXiv:1409.4842): a part of random area and aspect ratio,
    resized to a square.

    size: of the square, in pixels. scale: bounds of the part's share of the area, in (0, 1]. ratio: bounds
    of its width / height. interpolation: bilinear, bicubic, or random for either.
    """

    def __init__(
        self, size: int, scale: tuple[float, float], ratio: tuple[float, float], interpolation: str
    ) -> None:
        self._crop = RandomResizedCropAndInterpolation(size, scale, ratio, interpolation)

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        with global_generators(generator):
            cropped: Image.Image = self._crop(image)
        return cropped


class TimmRandAugment:
    """timm's RandAugment (Cubuk et al., arXiv:1909.13719).

    magnitude: 0 to 10. magnitude_std: standard deviation of the magnitude. layers: changes to an image.
    increasing: whether every change grows with the magnitude. probability: of each change. interpolation:
    bilinear, bicubic, or random for either. fill: colour of pixels outside the moved image."""

    def __init__(
        self,
        magnitude: int,
        magnitude_std: float,
        layers: int,
        increasing: bool,
        probability: float,
        interpolation: str,
        fill: tuple[int, int, int],
    ) -> None:
        # timm splits this at hyphens: no exponents.
        text = f"rand-m{magnitude}-mstd{magnitude_std:f}-n{layers}-p{probability:f}-inc{increasing:d}"
        settings: dict[str, object] = {"img_mean": fill}
        if interpolation != "random":
            settings["interpolation"] = str_to_pil_interp(interpolation)
        self._transform = auto_augment.rand_augment_transform(text, settings)
        for change in self._transform.ops:
            if change.aug_fn is auto_augment.posterize:
                change.aug_fn = _posterize

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        with global_generators(generator):
            augmented: Image.Image = self._transform(image)
        return augmented


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """The highest `bits` of each value. At the largest magnitudes timm passes 0 bits, which Pillow 13
    refuses; older versions made the image black."""
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)

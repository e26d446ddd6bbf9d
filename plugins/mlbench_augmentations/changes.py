"""Random changes to an image: crops, flips, and timm's RandAugment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from timm.data import auto_augment
from timm.data.transforms import RandomResizedCropAndInterpolation, str_to_pil_interp

from mlbench.plugin import Augmentation
from mlbench_augmentations.global_generators import global_generators

if TYPE_CHECKING:
    from mlbench_augmentations.augmentations import RandAugment

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
    """timm's RandAugment (Cubuk et al., arXiv:1909.13719)."""

    def __init__(self, options: RandAugment) -> None:
        # timm splits the text at hyphens, so numbers have no exponents.
        text = (
            f"rand-m{options.magnitude}-mstd{options.magnitude_std:f}-n{options.layers}"
            f"-p{options.probability:f}-inc{options.increasing:d}"
        )
        settings: dict[str, object] = {"img_mean": options.fill}
        if options.interpolation != "random":
            settings["interpolation"] = str_to_pil_interp(options.interpolation)
        self._transform = auto_augment.rand_augment_transform(text, settings)
        for change in self._transform.ops:
            if change.aug_fn is auto_augment.posterize:
                change.aug_fn = _posterize

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        with global_generators(generator):
            augmented: Image.Image = self._transform(image)
        return augmented


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """The highest `bits` of each value; black for 0 bits, which timm passes at the largest magnitudes and
    Pillow 13 refuses."""
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)

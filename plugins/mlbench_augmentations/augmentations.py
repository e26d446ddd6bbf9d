"""Options of the augmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from mlbench.plugin import AugmentationOptions, OptionError

if TYPE_CHECKING:
    from mlbench.plugin import Augmentation
    from mlbench_augmentations.changes import Chain
    from mlbench_augmentations.document_changes import DocumentChanges

__all__ = [
    "ChainOfAugmentations",
    "CropRandAugment",
    "DocumentAugmentation",
    "FlipCrop",
    "RandAugment",
    "ResizedCrop",
]

_Probability = Annotated[float, Field(ge=0, le=1)]
_Area = Annotated[float, Field(gt=0, le=1)]
_Ratio = Annotated[float, Field(gt=0)]
_Byte = Annotated[int, Field(ge=0, le=255)]
_Colour = tuple[_Byte, _Byte, _Byte]
_Interpolation = Literal["bilinear", "bicubic", "random"]

#: Fill colour of timm's training script: the mean colour of ImageNet.
_IMAGENET_MEAN = (124, 116, 104)


class ChainOfAugmentations(AugmentationOptions):
    """Other augmentations, one after the other, such as a camera and then RandAugment. All draw from one
    generator."""

    parts: Annotated[tuple[AugmentationOptions, ...], Field(min_length=1)]
    """The augmentations, each by its name or as a mapping of its name and options."""

    def build(self, image_size: int) -> Chain:
        from mlbench_augmentations.changes import Chain

        return Chain(tuple(part.build(image_size) for part in self.parts))


class FlipCrop(AugmentationOptions):
    """Padding, a crop of the old size at a random position, and a random flip: usual on CIFAR
    (arXiv:1409.5185)."""

    pad: Annotated[int, Field(ge=0)] = 4
    """Pixels on every side of an image of image.size; other sizes are padded in proportion."""
    flip: _Probability = 0.5
    """Probability of a horizontal flip."""
    fill: _Colour = (0, 0, 0)
    """Colour of the padding, as [red, green, blue], 0 to 255."""

    def build(self, image_size: int) -> Chain:
        from mlbench_augmentations.changes import Chain, Flip, ShiftedCrop

        return Chain((ShiftedCrop(image_size, self.pad, self.fill), Flip(self.flip)))


class ResizedCrop(AugmentationOptions):
    """A part of random area and aspect ratio, resized to the training size, and a random flip
    (arXiv:1409.4842)."""

    scale: tuple[_Area, _Area] = (0.08, 1.0)
    """Smallest and largest share of the image's area."""
    ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the part."""
    flip: _Probability = 0.5
    """Probability of a horizontal flip."""
    interpolation: _Interpolation = "bicubic"
    """bilinear, bicubic, or random for either."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        for option, (least, largest) in (("scale", self.scale), ("ratio", self.ratio)):
            if least > largest:
                raise OptionError(
                    f"augmentation: {option} [{least:g}, {largest:g}] is the wrong way round; "
                    "expected the least first",
                    option,
                )
        return self

    def build(self, image_size: int) -> Chain:
        from mlbench_augmentations.changes import Chain, Flip, TimmResizedCrop

        crop = TimmResizedCrop(image_size, self.scale, self.ratio, self.interpolation)
        return Chain((crop, Flip(self.flip)))


class RandAugment(AugmentationOptions):
    """RandAugment (arXiv:1909.13719) of timm: a few changes drawn from 15, all of the same magnitude."""

    magnitude: Annotated[int, Field(ge=0, le=10)] = 9
    """Strength of RandAugment's changes, 0 to 10."""
    magnitude_std: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Standard deviation of the magnitude of each change; 0 for none."""
    layers: Annotated[int, Field(ge=1)] = 2
    """Changes to an image, drawn with replacement."""
    increasing: bool = True
    """Whether all changes grow with the magnitude; false for the original's changes, of which some shrink."""
    probability: _Probability = 0.5
    """Probability of each drawn change."""
    interpolation: _Interpolation = "bicubic"
    """bilinear, bicubic, or random for either."""
    fill: _Colour = _IMAGENET_MEAN
    """Colour of pixels outside the moved image, as [red, green, blue], 0 to 255."""

    def build(self, image_size: int) -> Augmentation:
        from mlbench_augmentations.changes import TimmRandAugment

        return TimmRandAugment(self)


class CropRandAugment(ResizedCrop, RandAugment):
    """A random resized crop, a flip, then RandAugment, in timm's order (arXiv:2110.00476)."""

    def build(self, image_size: int) -> Chain:
        from mlbench_augmentations.changes import Chain

        return Chain((ResizedCrop.build(self, image_size), RandAugment.build(self, image_size)))


class DocumentAugmentation(AugmentationOptions):
    """The augmentation of DocClassifier: four groups of changes, at most one change of each group.

    The image is first stretched to a square. The groups are: a crop of 0.8 to 1 of the area, or a shift by up
    to 0.1, a scale by up to 0.1 and a rotation by up to 15 degrees; blur or JPEG; noise; colour. The change
    within a group is drawn uniformly."""

    probability: _Probability = 0.5
    """Probability that a group changes the image."""

    def build(self, image_size: int) -> DocumentChanges:
        from mlbench_augmentations.document_changes import DocumentChanges

        return DocumentChanges(image_size, self.probability)

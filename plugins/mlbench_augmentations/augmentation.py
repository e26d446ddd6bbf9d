"""The augmentations as suites name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlbench.errors import OptionError

if TYPE_CHECKING:
    from mlbench_augmentations.changes import Chain, RandAugment
    from mlbench_augmentations.document import Document

__all__ = ["crop_randaugment", "document", "flip_crop", "randaugment", "resized_crop"]

_Probability = Annotated[float, Field(ge=0, le=1)]
_Area = Annotated[float, Field(gt=0, le=1)]
_Ratio = Annotated[float, Field(gt=0)]
_Byte = Annotated[int, Field(ge=0, le=255)]
_Colour = tuple[_Byte, _Byte, _Byte]
_Magnitude = Annotated[int, Field(ge=0, le=10)]
_Deviation = Annotated[float, Field(ge=0, le=100)]
_Interpolation = Literal["bilinear", "bicubic", "random"]

#: What timm's training script fills with: the mean colour of ImageNet.
_IMAGENET_MEAN = (124, 116, 104)


def flip_crop(
    image_size: int,
    *,
    pad: Annotated[int, Field(ge=0)] = 4,
    flip: _Probability = 0.5,
    fill: _Colour = (0, 0, 0),
) -> Chain:
    """Pads the image, crops it back to its size anywhere, and flips it: usual on CIFAR (arXiv:1409.5185).

    Options
    -------
    pad: pixels on every side of an image of image.size; a larger one is padded in proportion.
    flip: probability of a flip, left to right.
    fill: colour of the padding, as [red, green, blue], 0 to 255.
    """
    from mlbench_augmentations.changes import Chain, Flip, ShiftedCrop

    return Chain((ShiftedCrop(image_size, pad, fill), Flip(flip)))


def resized_crop(
    image_size: int,
    *,
    scale: tuple[_Area, _Area] = (0.08, 1.0),
    ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3),
    flip: _Probability = 0.5,
    interpolation: _Interpolation = "bicubic",
) -> Chain:
    """A part of random area and proportions, resized to the training size, and flipped (arXiv:1409.4842).

    Options
    -------
    scale: least and largest share of the image's area.
    ratio: least and largest width / height of the part.
    flip: probability of a flip, left to right.
    interpolation: bilinear, bicubic, or random for either.

    Raises OptionError if the bounds of scale or ratio are the wrong way round.
    """
    from mlbench_augmentations.changes import Chain, Flip, ResizedCrop

    for option, (least, largest) in (("scale", scale), ("ratio", ratio)):
        if least > largest:
            raise OptionError(
                f"augmentation: {option} [{least:g}, {largest:g}] is the wrong way round; "
                "expected the least first",
                option,
            )
    return Chain((ResizedCrop(image_size, scale, ratio, interpolation), Flip(flip)))


def randaugment(
    *,
    magnitude: _Magnitude = 9,
    magnitude_std: _Deviation = 0.5,
    layers: Annotated[int, Field(ge=1)] = 2,
    increasing: bool = True,
    probability: _Probability = 0.5,
    interpolation: _Interpolation = "bicubic",
    fill: _Colour = _IMAGENET_MEAN,
) -> RandAugment:
    """RandAugment (arXiv:1909.13719) as timm has it: a few changes drawn from 15, all of one magnitude.

    Options
    -------
    magnitude: strength of the changes, 0 to 10.
    magnitude_std: deviation of each change's own magnitude; 0 for none.
    layers: changes to an image, drawn with replacement.
    increasing: whether all changes grow with the magnitude; false for the original's, where some shrink.
    probability: of each of these changes to happen.
    interpolation: bilinear, bicubic, or random for either.
    fill: colour where the image was moved away, as [red, green, blue], 0 to 255.
    """
    from mlbench_augmentations.changes import RandAugment

    return RandAugment(magnitude, magnitude_std, layers, increasing, probability, interpolation, fill)


def crop_randaugment(
    image_size: int,
    *,
    scale: tuple[_Area, _Area] = (0.08, 1.0),
    ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3),
    flip: _Probability = 0.5,
    magnitude: _Magnitude = 9,
    magnitude_std: _Deviation = 0.5,
    layers: Annotated[int, Field(ge=1)] = 2,
    increasing: bool = True,
    probability: _Probability = 0.5,
    interpolation: _Interpolation = "bicubic",
    fill: _Colour = _IMAGENET_MEAN,
) -> Chain:
    """A random resized crop, a flip, then RandAugment, in timm's order (arXiv:2110.00476).

    Options
    -------
    scale: least and largest share of the image's area.
    ratio: least and largest width / height of the part.
    flip: probability of a flip, left to right.
    magnitude: strength of RandAugment's changes, 0 to 10.
    magnitude_std: deviation of each change's own magnitude; 0 for none.
    layers: changes to an image, drawn with replacement.
    increasing: whether all changes grow with the magnitude; false for the original's, where some shrink.
    probability: of each of these changes to happen.
    interpolation: bilinear, bicubic, or random for either.
    fill: colour where the image was moved away, as [red, green, blue], 0 to 255.

    Raises OptionError if the bounds of scale or ratio are the wrong way round.
    """
    from mlbench_augmentations.changes import Chain

    crop = resized_crop(image_size, scale=scale, ratio=ratio, flip=flip, interpolation=interpolation)
    changes = randaugment(
        magnitude=magnitude,
        magnitude_std=magnitude_std,
        layers=layers,
        increasing=increasing,
        probability=probability,
        interpolation=interpolation,
        fill=fill,
    )
    return Chain((*crop.changes, changes))


def document(image_size: int, *, probability: _Probability = 0.5) -> Document:
    """The augmentation of DocClassifier: four groups of changes, of each at most one.

    The groups are: a crop of 0.8 to 1 of the area, or a shift by up to 0.1, a scale by up to 0.1 and a turn
    by up to 15 degrees; blur or JPEG; noise; colour. The image is stretched to a square first. Which change
    of a group it is, is drawn evenly.

    Options
    -------
    probability: of each group to change the image.
    """
    from mlbench_augmentations.document import Document

    return Document(image_size, probability)

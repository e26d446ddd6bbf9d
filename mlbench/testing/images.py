"""Checks of augmentations and mixings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from mlbench.contracts import Mixed
from mlbench.seeding import numpy_generator
from mlbench.testing.check import Subject, expect
from mlbench.testing.copying import copies
from mlbench.testing.random_state import untouched

__all__ = ["CHECKS", "expect_rgb"]

_IMAGE_SIZE = 32
_DRAWS = 12


def expect_rgb(image: Any, what: str) -> None:
    """Raise AssertionError unless `image` is a PIL image in RGB. what: the call that returned it."""
    expect(isinstance(image, Image.Image), f"{what} returns a {type(image).__name__}; return a PIL image")
    expect(
        image.mode == "RGB",
        f"{what} returns an image in mode {image.mode}; convert it with .convert('RGB')",
    )


def _augmentation(subject: Subject) -> Any:
    return subject.build(image_size=_IMAGE_SIZE)


def _image(width: int, height: int) -> Image.Image:
    return Image.fromarray(numpy_generator(0, "image").integers(0, 256, (height, width, 3), dtype=np.uint8))


def augmentation_gives_rgb_images(subject: Subject) -> None:
    augmentation = _augmentation(subject)
    for width, height in ((_IMAGE_SIZE, _IMAGE_SIZE), (50, 20), (20, 50), (200, 150)):
        image = _image(width, height)
        for draw in range(_DRAWS):
            expect_rgb(augmentation(image, numpy_generator(0, "augment", draw)), "the augmentation")
        unchanged = image.tobytes() == _image(width, height).tobytes()
        expect(unchanged, "the augmentation changes its input; copy the image first (image.copy())")


def augmentation_draws_from_its_generator_alone(subject: Subject) -> None:
    image = _image(40, 30)
    with untouched("build()", "draw in the call, from its generator"):
        augmentation = _augmentation(subject)
    others = {
        "a second call": augmentation,
        **copies(augmentation, "the augmentation"),
        "a second build": _augmentation(subject),
    }
    for draw in range(_DRAWS):
        with untouched("the augmentation"):
            first = augmentation(image, numpy_generator(0, "augment", draw))
        for how, other in others.items():
            second = other(image, numpy_generator(0, "augment", draw))
            expect(
                first.tobytes() == second.tobytes(),
                f"{how} with the same generator gives another image; draw everything from the generator, and "
                "keep no state between calls",
            )


def _batch(count: int, side: int = 16) -> torch.Tensor:
    pixels = numpy_generator(0, "batch").integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return torch.from_numpy(pixels)


def _mixes(subject: Subject, images: torch.Tensor) -> Iterator[Mixed]:
    mixing = subject.build()
    for draw in range(_DRAWS):
        mixed = mixing(images, numpy_generator(0, "mix", draw))
        if mixed is not None:
            yield mixed


def mixes_have_their_shapes(subject: Subject) -> None:
    for count in (1, 7, 8):
        images = _batch(count)
        for mixed in _mixes(subject, images):
            expect(
                isinstance(mixed, Mixed), f"the mixing returns {type(mixed).__name__}; return a Mixed or None"
            )
            given = mixed.images
            expect(
                given.shape == images.shape and given.dtype == torch.float32,
                f"mixed images are {tuple(given.shape)} {given.dtype}; return (N, 3, S, S) float32, as "
                "images.float() gives",
            )
            low, high = given.aminmax()
            # Rounding may take a weighted mean slightly out of the range.
            expect(
                low >= -1e-3 and high <= 255 + 1e-3,
                f"mixed images run from {low:g} to {high:g}; keep them in [0, 255], without normalising",
            )
            partners = mixed.partners
            fits = partners.shape == (count,) and partners.dtype == torch.int64
            expect(
                fits and partners.device.type == "cpu",
                f"partners are {tuple(partners.shape)} {partners.dtype} on {partners.device}; return (N,) "
                "int64 on the CPU",
            )
            expect(
                partners.min() >= 0 and partners.max() < count,
                f"partners run from {partners.min()} to {partners.max()} in a batch of {count}; return "
                "positions in the batch",
            )
            expect(0 <= mixed.share <= 1, f"the share is {mixed.share}; return a number in [0, 1]")
        expect(
            torch.equal(images, _batch(count)),
            "the mixing changes its input; write into a new tensor instead",
        )


def share_is_true(subject: Subject) -> None:
    """Images of a single colour show the shares of both."""
    colours = torch.arange(8, dtype=torch.uint8) * 30
    images = colours.view(8, 1, 1, 1).expand(8, 3, 16, 16).contiguous()
    for mixed in _mixes(subject, images):
        own = colours.float()
        wanted = mixed.share * own + (1 - mixed.share) * own[mixed.partners]
        close = torch.allclose(mixed.images.mean((1, 2, 3)), wanted, atol=0.1)
        expect(
            close,
            f"a mixed image is not {mixed.share:g} of itself and the rest of its partner; return as "
            "the share what is left of the image, such as the share of pixels outside a pasted box",
        )


def mixing_draws_from_its_generator_alone(subject: Subject) -> None:
    images = _batch(8)
    with untouched("the mixing"):
        first = list(_mixes(subject, images))
    second = list(_mixes(subject, images))
    same = len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.partners, b.partners) and a.share == b.share
        for a, b in zip(first, second, strict=False)
    )
    expect(
        same,
        "the same generator gives other mixed images; draw everything from the generator, and keep no state "
        "between calls",
    )


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "augmentation": (augmentation_gives_rgb_images, augmentation_draws_from_its_generator_alone),
    "mixing": (mixes_have_their_shapes, share_is_true, mixing_draws_from_its_generator_alone),
}

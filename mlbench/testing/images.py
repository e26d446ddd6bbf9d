"""Checks of data sets, augmentations and mixings."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mlbench.contracts import GALLERY, QUERY, SPLITS, Dataset, GroupedSplit, Mixed, PairedDataset, Split
from mlbench.seeding import numpy_generator
from mlbench.testing.check import Subject, expect

__all__ = ["CHECKS"]

_IMAGE_SIZE = 32
_DRAWS = 12


@contextmanager
def _global_generators_untouched() -> Iterator[None]:
    before = _global_states()
    yield
    expect(
        before == _global_states(),
        "randomness comes from the generator that is passed in; the global generators of Python, NumPy and "
        "torch do not change",
    )


def _pickled(original: Any, what: str) -> Any:
    """A copy, as worker processes get it."""
    try:
        return pickle.loads(pickle.dumps(original))  # noqa: S301
    # Pickling raises many kinds of errors.
    except Exception as error:
        raise AssertionError(f"{what} can be pickled, for worker processes ({error})") from None


def _global_states() -> bytes:
    # This reads the legacy generator, which the linter forbids to use.
    numpy_state = np.random.get_state()  # noqa: NPY002
    return pickle.dumps((random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()))


def _dataset(subject: Subject) -> Any:
    return subject.build(root=Path(), image_size=_IMAGE_SIZE)


def dataset_has_three_splits(subject: Subject) -> None:
    dataset = _dataset(subject)
    expect(isinstance(dataset, Dataset), "a data set has version, disjoint, notes and split()")
    expect(isinstance(dataset.version, str) and dataset.version, "`version` is a non-empty string")
    expect(dataset.version == _dataset(subject).version, "the same options and files give the same version")
    expect(isinstance(dataset.disjoint, bool), "`disjoint` is True or False")
    expect(not isinstance(dataset.notes, str) and list(map(str, dataset.notes)) == [*dataset.notes],
           "`notes` are strings")  # fmt: skip
    for name in SPLITS:
        split = dataset.split(name)
        expect(isinstance(split, Split), f"the {name} split has every member of mlbench.plugin.Split")
        expect(len(split) > 0, f"the {name} split has images")
        if isinstance(split, GroupedSplit) and split.groups is not None:
            shaped = split.groups.shape == (len(split),) and split.groups.dtype.kind == "i"
            expect(shaped, f"`groups` of the {name} split are None, or one integer for each image")


def labels_are_contiguous(subject: Subject) -> None:
    dataset = _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        labels = {split.label(index) for index in range(len(split))}
        expect(
            labels == set(range(split.num_classes)),
            f"labels of the {name} split are 0 .. {split.num_classes - 1} (num_classes - 1), and each occurs",
        )


def classes_have_names(subject: Subject) -> None:
    dataset = _dataset(subject)
    names: dict[str, set[str]] = {}
    for name in SPLITS:
        split = dataset.split(name)
        every = [split.class_name(label) for label in range(split.num_classes)]
        names[name] = set(every)
        expect(len(names[name]) == len(every), f"class names of the {name} split are unique")
    if dataset.disjoint:
        shared = names["test"] & (names["train"] | names["calibration"])
        expect(not shared, f"a disjoint data set has no class of test in another split: {sorted(shared)[:3]}")


def roles_allow_a_test(subject: Subject) -> None:
    dataset = _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        roles = [split.role(index) for index in range(len(split))]
        known = {0, QUERY, GALLERY, QUERY | GALLERY}
        expect(set(roles) <= known, "a role is QUERY, GALLERY, both (as bits) or 0 for neither")
        complete = any(role & QUERY for role in roles) and any(role & GALLERY for role in roles)
        # The test images of a paired data set may have no labels.
        paired = name == "test" and isinstance(dataset, PairedDataset)
        expect(complete or name == "train" or paired, f"the {name} split has queries and a gallery")


def images_are_always_the_same(subject: Subject) -> None:
    dataset, again = _dataset(subject), _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        copy = _pickled(split, "a split")
        for index in {0, len(split) // 2, len(split) - 1}:
            with _global_generators_untouched():
                image = split.image(index)
            _expect_rgb(image)
            for other in (split, copy, again.split(name)):
                same = other.image(index).tobytes() == image.tobytes()
                expect(same, f"image {index} of the {name} split has the same bits every time")


def pairs_are_right(subject: Subject) -> None:
    dataset = _dataset(subject)
    if not isinstance(dataset, PairedDataset):
        return
    pairs, split = dataset.pairs(), dataset.split("test")
    count = len(pairs.left)
    expect(all(len(column) == count for column in pairs), "left, right, same and folds have the same length")
    rows = np.concatenate([pairs.left, pairs.right])
    expect(rows.min() >= 0 and rows.max() < len(split), "left and right are indices into the test split")
    for left, right, same in zip(*pairs[:3], strict=True):
        if split.role(int(left)) and split.role(int(right)):
            equal = split.label(int(left)) == split.label(int(right))
            expect(equal == bool(same), "`same` of a pair is true where its images have the same label")


def _expect_rgb(image: Any) -> None:
    good = isinstance(image, Image.Image) and image.mode == "RGB"
    expect(good, f"an image is a PIL image in RGB, not {getattr(image, 'mode', type(image).__name__)}")


def _augmentation(subject: Subject) -> Any:
    return subject.build(image_size=_IMAGE_SIZE)


def _image(width: int, height: int) -> Image.Image:
    return Image.fromarray(numpy_generator(0, "image").integers(0, 256, (height, width, 3), dtype=np.uint8))


def augmentation_gives_rgb_images(subject: Subject) -> None:
    augmentation = _augmentation(subject)
    for width, height in ((_IMAGE_SIZE, _IMAGE_SIZE), (50, 20), (20, 50), (200, 150)):
        image = _image(width, height)
        for draw in range(_DRAWS):
            _expect_rgb(augmentation(image, numpy_generator(0, "augment", draw)))
        unchanged = image.tobytes() == _image(width, height).tobytes()
        expect(unchanged, "an augmentation returns a new image and does not change its input")


def augmentation_draws_from_its_generator_alone(subject: Subject) -> None:
    augmentation, image = _augmentation(subject), _image(40, 30)
    copy = _pickled(augmentation, "an augmentation")
    for draw in range(_DRAWS):
        with _global_generators_untouched():
            first = augmentation(image, numpy_generator(0, "augment", draw))
        for other in (augmentation, copy, _augmentation(subject)):
            second = other(image, numpy_generator(0, "augment", draw))
            expect(first.tobytes() == second.tobytes(), "the same generator gives the same bits")


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
            expect(isinstance(mixed, Mixed), "a mixing returns a Mixed or None")
            fits = mixed.images.shape == images.shape and mixed.images.dtype == torch.float32
            expect(fits, "mixed images are (N, 3, S, S) float32")
            low, high = mixed.images.aminmax()
            # Rounding may take a weighted mean slightly out of the range.
            expect(low >= -1e-3 and high <= 255 + 1e-3, "mixed images are in [0, 255]")
            partners = mixed.partners
            fits = partners.shape == (count,) and partners.dtype == torch.int64
            expect(fits and partners.device.type == "cpu", "partners are (N,) int64 on the CPU")
            expect(partners.min() >= 0 and partners.max() < count, "partners are positions in the batch")
            expect(0 <= mixed.share <= 1, f"the share is in [0, 1], not {mixed.share}")
        expect(torch.equal(images, _batch(count)), "a mixing does not change its input")


def share_is_true(subject: Subject) -> None:
    """Images of a single colour show the shares of both."""
    colours = torch.arange(8, dtype=torch.uint8) * 30
    images = colours.view(8, 1, 1, 1).expand(8, 3, 16, 16).contiguous()
    for mixed in _mixes(subject, images):
        own = colours.float()
        wanted = mixed.share * own + (1 - mixed.share) * own[mixed.partners]
        close = torch.allclose(mixed.images.mean((1, 2, 3)), wanted, atol=0.1)
        expect(close, "a mixed image is `share` of itself and the rest of its partner")


def mixing_draws_from_its_generator_alone(subject: Subject) -> None:
    images = _batch(8)
    with _global_generators_untouched():
        first = list(_mixes(subject, images))
    second = list(_mixes(subject, images))
    same = len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.partners, b.partners) and a.share == b.share
        for a, b in zip(first, second, strict=False)
    )
    expect(same, "the same generator gives the same bits")


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "dataset": (
        dataset_has_three_splits,
        labels_are_contiguous,
        classes_have_names,
        roles_allow_a_test,
        images_are_always_the_same,
        pairs_are_right,
    ),
    "augmentation": (augmentation_gives_rgb_images, augmentation_draws_from_its_generator_alone),
    "mixing": (mixes_have_their_shapes, share_is_true, mixing_draws_from_its_generator_alone),
}

"""Expected contents of random batches: positive and negative pairs, and the share of all images in an
epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Labels = Sequence[int] | np.ndarray

__all__ = [
    "ExpectedPairs",
    "class_sizes",
    "drawn_with_replacement",
    "pairs_by_class",
    "pairs_with_replacement",
    "pairs_without_replacement",
]


class ExpectedPairs(NamedTuple):
    """Expected numbers of positive pairs (images of one class) and of negative pairs in a batch."""

    positives: float
    negatives: float


def class_sizes(labels: Labels) -> list[int]:
    """Images of each class that has any. Without NumPy, whose import is slow."""
    return list(Counter(labels).values())


def pairs_without_replacement(sizes: Sequence[int], batch_size: int, repeats: int = 1) -> ExpectedPairs:
    """Pairs of batches that are cut from a random order of all images, each `repeats` times in a row."""
    count = sum(sizes)
    positive = sum(size * (size - 1) for size in sizes) / max(count * (count - 1), 1)
    # The place among an image's repeats at which a batch starts has a period of `repeats` batches.
    starts = [batch * batch_size % repeats for batch in range(repeats)]
    repeated = sum(_pairs_of_repeats(start, batch_size, repeats) for start in starts) / repeats
    others = batch_size * (batch_size - 1) / 2 - repeated
    return ExpectedPairs(repeated + positive * others, (1 - positive) * others)


def pairs_with_replacement(shares: Iterable[float], batch_size: int) -> ExpectedPairs:
    """Pairs of batches whose images are drawn independently. shares: probability of each class."""
    total = batch_size * (batch_size - 1) / 2
    positive = sum(share**2 for share in shares)
    return ExpectedPairs(positive * total, (1 - positive) * total)


def pairs_by_class(classes: int, images: int) -> ExpectedPairs:
    """Pairs of batches with `images` images of each of `classes` classes."""
    return ExpectedPairs(classes * images * (images - 1) / 2, images**2 * classes * (classes - 1) / 2)


def drawn_with_replacement(sizes: Sequence[int], chances: Iterable[float], draws: int) -> float:
    """Expected share of all images that are drawn at least once in `draws` independent draws.

    chances: for each class, the probability that one draw takes a given image of it.
    """
    shown = sum(
        size * (1 - (1 - min(chance, 1.0)) ** draws) for size, chance in zip(sizes, chances, strict=True)
    )
    return shown / sum(sizes)


def _pairs_of_repeats(start: int, batch_size: int, repeats: int) -> float:
    """Pairs of one image with itself in a batch that begins with the repeat `start` of an image."""
    first = min(-start % repeats, batch_size)
    full, last = divmod(batch_size - first, repeats)
    return sum(count * (count - 1) / 2 for count in (first, *[repeats] * full, last))

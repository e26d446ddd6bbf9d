"""What random batches are expected to hold: pairs of images of one class and of two, and which share of all
images in an epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Labels = Sequence[int] | np.ndarray

__all__ = [
    "Pairs",
    "class_sizes",
    "drawn_with_replacement",
    "pairs_by_class",
    "pairs_with_replacement",
    "pairs_without_replacement",
]


class Pairs(NamedTuple):
    """Expected pairs of a batch: of images of one class, and of two."""

    positives: float
    negatives: float


def class_sizes(labels: Labels) -> list[int]:
    """Images of each class that has any. Without NumPy, which takes long to import."""
    return list(Counter(labels).values())


def pairs_without_replacement(sizes: Sequence[int], batch_size: int, repeats: int = 1) -> Pairs:
    """Of batches cut from a random order of all images, each `repeats` times in a row."""
    count = sum(sizes)
    alike = sum(size * (size - 1) for size in sizes) / max(count * (count - 1), 1)
    # Where a batch starts among the repeats of an image recurs after `repeats` batches.
    starts = [batch * batch_size % repeats for batch in range(repeats)]
    repeated = sum(_pairs_of_repeats(start, batch_size, repeats) for start in starts) / repeats
    others = batch_size * (batch_size - 1) / 2 - repeated
    return Pairs(repeated + alike * others, (1 - alike) * others)


def pairs_with_replacement(shares: Iterable[float], batch_size: int) -> Pairs:
    """Of batches whose images are drawn one by one. shares: how often each class is drawn, of 1."""
    total = batch_size * (batch_size - 1) / 2
    alike = sum(share**2 for share in shares)
    return Pairs(alike * total, (1 - alike) * total)


def pairs_by_class(classes: int, images: int) -> Pairs:
    """Of batches with a number of images of each of a number of classes."""
    return Pairs(classes * images * (images - 1) / 2, images**2 * classes * (classes - 1) / 2)


def drawn_with_replacement(sizes: Sequence[int], chances: Iterable[float], draws: int) -> float:
    """Share of all images that is drawn at least once. chances: that one draw takes a certain image of the
    class, for each class; draws: how often is drawn, each time independently."""
    shown = sum(
        size * (1 - (1 - min(chance, 1.0)) ** draws) for size, chance in zip(sizes, chances, strict=True)
    )
    return shown / sum(sizes)


def _pairs_of_repeats(start: int, batch_size: int, repeats: int) -> float:
    """Pairs of the same image in a batch that begins with the repeat `start` of one."""
    first = min(-start % repeats, batch_size)
    full, last = divmod(batch_size - first, repeats)
    return sum(count * (count - 1) / 2 for count in (first, *[repeats] * full, last))

"""All pairs of queries and gallery images: in which order they stand, and which tiles of scores cover them.

Both sides are ordered by class, so that the pairs of one class are a rectangle of the score matrix, and a
tile either lies outside all of them or meets only the few that are known from its corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlbench.errors import DataError

__all__ = ["Pairs", "Side", "Window", "all_pairs"]


@dataclass(frozen=True)
class Side:
    """The rows (queries) or columns (gallery) of the score matrix, ordered by class.

    images: (n,) int64, the image at each place. groups: (n,) int64: two of one class that share a number are
    no pair; an image that is in no group has a number of its own. labels: (n,) int64 in [0, C), ascending.
    first: (C + 1,) int64, where each class starts. norms: (n,) float64, lengths of the vectors.
    """

    vectors: Any
    images: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    norms: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Window:
    """Rows [top, bottom) against each range [left, right) of columns: every pair of some classes' rows."""

    top: int
    bottom: int
    columns: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pairs:
    """Every ordered pair (query, gallery image) except an image with itself, or with another image of its
    class and group.

    classes: (C,) the labels as they were given. mirrored: both sides are the same images, so that each pair
    stands in both orders with one score. offsets: (Q + 1,) int64, where each query's positives would start
    in one flat array.
    """

    queries: Side
    gallery: Side
    classes: np.ndarray
    mirrored: bool
    offsets: np.ndarray

    @property
    def positives(self) -> int:
        """Number of ordered pairs of one class."""
        return int(self.offsets[-1])

    @property
    def negatives(self) -> int:
        """Number of ordered pairs of two classes."""
        return int(self.negatives_of_classes().sum()) // 2

    @property
    def repeated_positives(self) -> int:
        """Number of positive pairs that stand in both orders: of images that both ask and are found."""
        both = self._in_both_roles
        labels, groups = self.queries.labels[both], self.queries.groups[both]
        _, together = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
        return int((np.bincount(labels) ** 2).sum() - (together**2).sum()) // 2

    @property
    def repeated_negatives(self) -> int:
        """Number of negative pairs that stand in both orders: of images that both ask and are found."""
        counts = np.bincount(self.queries.labels[self._in_both_roles])
        return int(counts.sum() ** 2 - (counts**2).sum()) // 2

    @property
    def _in_both_roles(self) -> np.ndarray:
        """Which queries are found too."""
        return np.isin(self.queries.images, self.gallery.images, assume_unique=True)

    def negatives_of_classes(self) -> np.ndarray:
        """(C,) int64: ordered negative pairs whose query is of the class, and those whose gallery image is;
        each pair counts for both of its classes."""
        asking, found = np.diff(self.queries.first), np.diff(self.gallery.first)
        return asking * (len(self.gallery) - found) + found * (len(self.queries) - asking)

    def panels(self, most: int, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Ranges of queries in [start, end), each with at most `most` positives in all, or a single query."""
        end = len(self.queries) if end is None else end
        while start < end:
            reach = int(np.searchsorted(self.offsets, self.offsets[start] + most, side="right")) - 1
            stop = min(max(start + 1, reach), end)
            yield start, stop
            start = stop

    def windows(self, start: int, end: int, side: int) -> Iterator[Window]:
        """What must be scored to know the positives of queries [start, end), at most `side` wide and high.

        Whole classes share a window while they fit; a larger class is cut.
        """
        rows, columns = self.queries.first, self.gallery.first
        label = int(self.queries.labels[start]) if start < end else 0
        top = start
        while top < end:
            last = label
            while (
                last + 1 < len(self.classes)
                and rows[last + 1] < end
                and rows[last + 2] - top <= side
                and columns[last + 2] - columns[label] <= side
            ):
                last += 1
            bottom = min(end, int(rows[last + 1]))
            left, right = int(columns[label]), int(columns[last + 1])
            cuts = tuple((at, min(at + side, right)) for at in range(left, right, side))
            for at in range(top, bottom, side):
                if cuts:
                    yield Window(at, min(at + side, bottom), cuts)
            top, label = bottom, last + 1


def all_pairs(
    vectors: Any,
    norms: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    gallery: np.ndarray,
    name: str,
    groups: np.ndarray | None = None,
) -> Pairs:
    """The pairs of embedded images; `name` says of which, for messages.

    vectors: (N, D). norms: (N,) their lengths. labels: (N,) integers. queries, gallery: (N,) bool, who asks
    and who may be found. groups: see `Embeddings`. Raises DataError when fewer than two classes take part or
    no query meets another image of its class; past both checks there is a negative pair too.
    """
    classes, inverse = np.unique(labels[queries | gallery], return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"{name}: {len(classes)} class; at least 2 are needed to tell same from different")
    codes = np.zeros(len(labels), np.int64)
    codes[queries | gallery] = inverse
    mirrored = bool(np.array_equal(queries, gallery))
    # An image is in a group of its own, so that leaving out groups leaves out itself.
    own = np.arange(len(labels)) if groups is None else _numbered(groups)
    asking = _side(vectors, norms, own, codes, queries, len(classes))
    found = asking if mirrored else _side(vectors, norms, own, codes, gallery, len(classes))
    left_out = gallery[asking.images] if groups is None else _grouped(asking, found)
    same = np.diff(found.first)[asking.labels] - left_out
    offsets = np.concatenate([[0], np.cumsum(same)]).astype(np.int64)
    pairs = Pairs(asking, found, classes, mirrored, offsets)
    if pairs.positives == 0:
        outside = "" if groups is None else " outside of its group"
        raise DataError(
            f"{name}: no query meets another image of its class{outside}, so there is no pair to recognise"
        )
    return pairs


def _numbered(groups: np.ndarray) -> np.ndarray:
    """The groups as int64, with a number of its own for each image that is in none."""
    inside = groups >= 0
    numbers = np.arange(len(groups), dtype=np.int64)
    numbers[inside] = len(groups) + np.unique(groups[inside], return_inverse=True)[1]
    return numbers


def _grouped(asking: Side, found: Side) -> np.ndarray:
    """Of how many gallery images of its class and group (itself among them) each query is to know nothing."""
    # One number for each class and group: groups are below twice the number of images.
    most = 1 + max(asking.groups.max(initial=0), found.groups.max(initial=0))
    keys, counts = np.unique(found.labels * most + found.groups, return_counts=True)
    wanted = asking.labels * most + asking.groups
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0) if len(keys) else np.zeros(len(asking), np.int64)


def _side(
    vectors: Any, norms: np.ndarray, groups: np.ndarray, codes: np.ndarray, member: np.ndarray, classes: int
) -> Side:
    images = np.flatnonzero(member)
    images = images[np.argsort(codes[images], kind="stable")]
    labels = codes[images]
    first = np.searchsorted(labels, np.arange(classes + 1)).astype(np.int64)
    return Side(vectors, images, groups[images], labels, first, norms[images])

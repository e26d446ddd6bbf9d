"""All pairs of queries and gallery images: their order in the score matrix and the blocks that hold
positives.

Rows (queries) and columns (gallery images) are ordered by class, so that the pairs of one class form a
rectangle of the score matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlbench.errors import DataError
from mlbench.evaluation.embeddings import Embeddings, vector_norms

__all__ = ["AllPairs", "OrderedImages", "PositiveBlock"]


@dataclass(frozen=True)
class OrderedImages:
    """The queries (rows) or the gallery images (columns) of the score matrix, ordered by class.

    vectors: (N, D) of all images. images: (n,) int64, the image at each position. groups: (n,) int64; two
    images of one class with the same number are not a pair, and an image without a group has a unique number.
    labels: (n,) int64 in [0, C), ascending. first: (C + 1,) int64, the position where each class starts.
    norms: (n,) float64, of the vectors.
    """

    vectors: Any
    images: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    norms: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def at(self, places: np.ndarray) -> OrderedImages:
        """Some of the images. places: (n,) int64, ascending."""
        labels = self.labels[places]
        first = np.searchsorted(labels, np.arange(len(self.first))).astype(np.int64)
        return OrderedImages(
            self.vectors, self.images[places], self.groups[places], labels, first, self.norms[places]
        )


@dataclass(frozen=True, slots=True)
class PositiveBlock:
    """Rows [top, bottom) and ranges [left, right) of columns that together hold all positives of these
    rows."""

    top: int
    bottom: int
    columns: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class AllPairs:
    """Every ordered pair (query, gallery image), except an image with itself or with another image of its
    class and group.

    classes: (C,) the labels as given. mirrored: whether queries and gallery are the same images, so that each
    pair occurs in both orders with one score. offsets: (Q + 1,) int64, where each query's positives start in
    one flat array.
    """

    queries: OrderedImages
    gallery: OrderedImages
    classes: np.ndarray
    mirrored: bool
    offsets: np.ndarray

    @classmethod
    def of(cls, embeddings: Embeddings) -> AllPairs:
        """The pairs of embedded images, at least one positive and one negative pair.

        Raises DataError for embeddings that cannot be compared (see `vector_norms`), for fewer than two
        classes, and if no query has another image of its class in the gallery.
        """
        norms, name = vector_norms(embeddings), embeddings.name
        labels, queries, gallery = embeddings.labels, embeddings.queries, embeddings.gallery
        classes, inverse = np.unique(labels[queries | gallery], return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"{name}: {len(classes)} class; at least 2 are needed to tell same from different"
            )
        codes = np.zeros(len(labels), np.int64)
        codes[queries | gallery] = inverse
        # Every image shares a group with itself, so excluding groups also excludes pairs of an image with
        # itself.
        groups = np.arange(len(labels)) if embeddings.groups is None else _numbered(embeddings.groups)

        def ordered(members: np.ndarray) -> OrderedImages:
            images = np.flatnonzero(members)
            images = images[np.argsort(codes[images], kind="stable")]
            first = np.searchsorted(codes[images], np.arange(len(classes) + 1)).astype(np.int64)
            return OrderedImages(
                embeddings.vectors, images, groups[images], codes[images], first, norms[images]
            )

        mirrored = bool(np.array_equal(queries, gallery))
        rows = ordered(queries)
        columns = rows if mirrored else ordered(gallery)
        excluded = gallery[rows.images] if embeddings.groups is None else _same_class_and_group(rows, columns)
        same = np.diff(columns.first)[rows.labels] - excluded
        offsets = np.concatenate([[0], np.cumsum(same)]).astype(np.int64)
        pairs = cls(rows, columns, classes, mirrored, offsets)
        if pairs.positives == 0:
            outside = "" if embeddings.groups is None else " outside of its group"
            raise DataError(
                f"{name}: no query has another image of its class{outside} in the gallery, so there is no "
                "positive pair"
            )
        return pairs

    def of_queries(self, places: np.ndarray) -> AllPairs:
        """The pairs of some queries alone. places: (n,) int64, ascending, among the queries."""
        counts = np.diff(self.offsets)[places]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return AllPairs(self.queries.at(places), self.gallery, self.classes, False, offsets)

    @property
    def positives(self) -> int:
        """Number of ordered pairs of one class."""
        return int(self.offsets[-1])

    @property
    def negatives(self) -> int:
        """Number of ordered pairs of two classes."""
        return int(self.negatives_by_class().sum()) // 2

    @property
    def repeated_positives(self) -> int:
        """Number of positive pairs that occur in both orders: both images are queries and in the gallery."""
        both = self._in_both_roles
        labels, groups = self.queries.labels[both], self.queries.groups[both]
        _, together = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
        return int((np.bincount(labels) ** 2).sum() - (together**2).sum()) // 2

    @property
    def repeated_negatives(self) -> int:
        """Number of negative pairs that occur in both orders: both images are queries and in the gallery."""
        counts = np.bincount(self.queries.labels[self._in_both_roles])
        return int(counts.sum() ** 2 - (counts**2).sum()) // 2

    @property
    def _in_both_roles(self) -> np.ndarray:
        """Which queries are in the gallery too, (Q,) bool."""
        return np.isin(self.queries.images, self.gallery.images, assume_unique=True)

    def negatives_by_class(self) -> np.ndarray:
        """(C,) int64: ordered negative pairs with a query of the class plus those with a gallery image of the
        class; each pair counts for both of its classes."""
        rows, columns = np.diff(self.queries.first), np.diff(self.gallery.first)
        return rows * (len(self.gallery) - columns) + columns * (len(self.queries) - rows)

    def query_ranges(self, most: int, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Split the queries [start, end) into ranges with at most `most` positives each, or a single
        query."""
        end = len(self.queries) if end is None else end
        while start < end:
            reach = int(np.searchsorted(self.offsets, self.offsets[start] + most, side="right")) - 1
            stop = min(max(start + 1, reach), end)
            yield start, stop
            start = stop

    def positive_blocks(self, start: int, end: int, side: int) -> Iterator[PositiveBlock]:
        """Blocks that hold all positives of the queries [start, end), at most `side` high, in ranges of
        columns at most `side` wide.

        Whole classes share a block while they fit; a larger class is cut.
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
                    yield PositiveBlock(at, min(at + side, bottom), cuts)
            top, label = bottom, last + 1


def _numbered(groups: np.ndarray) -> np.ndarray:
    """The groups as int64, with a unique number for each image without a group."""
    inside = groups >= 0
    numbers = np.arange(len(groups), dtype=np.int64)
    numbers[inside] = len(groups) + np.unique(groups[inside], return_inverse=True)[1]
    return numbers


def _same_class_and_group(queries: OrderedImages, gallery: OrderedImages) -> np.ndarray:
    """Number of gallery images that share class and group with each query, itself included, (Q,) int64."""
    # One number for each class and group; a group number is below twice the number of images.
    most = 1 + max(queries.groups.max(initial=0), gallery.groups.max(initial=0))
    keys, counts = np.unique(gallery.labels * most + gallery.groups, return_counts=True)
    wanted = queries.labels * most + queries.groups
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0) if len(keys) else np.zeros(len(queries), np.int64)

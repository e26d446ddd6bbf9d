"""Tables of the details of an evaluation: images, pairs and classes, with columns as arrays.

An image is its index in the scored split; where the queries search another split, image i of that one has the
index `Details.images` + i. A class is its position in `Details.classes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "NEAR",
    "Classes",
    "Confusions",
    "Histogram",
    "ImageMap",
    "Neighbours",
    "Pairs",
    "Sweep",
]

#: Similarity from which two images count as almost the same.
NEAR = 0.98


@dataclass(frozen=True)
class Neighbours:
    """The nearest gallery images of W queries, and the nearest right one.

    query: (W,) int32. nearest: (W, 5) int32, nearest first, -1 where there are fewer. similarity: (W, 5)
    float32, NaN for none. same: (W, 5) bool, whether the image is of the query's class. right: (W,) int32,
    the nearest image of the query's class; right_similarity: (W,) float32; right_rank: (W,) int32, from 1.
    """

    query: np.ndarray
    nearest: np.ndarray
    similarity: np.ndarray
    same: np.ndarray
    right: np.ndarray
    right_similarity: np.ndarray
    right_rank: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """P pairs of images. Where queries and gallery are the same images, each pair occurs once, with a < b;
    else a is a query and b a gallery image.

    a, b: (P,) int32. similarity: (P,) float32. same: (P,) bool, whether both are of one class. total: number
    of all such pairs, of which these are the first.
    """

    a: np.ndarray
    b: np.ndarray
    similarity: np.ndarray
    same: np.ndarray
    total: int

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class Confusions:
    """Pairs of classes where the nearest image of a query of class a is of class b, most frequent first.

    a, b: (P,) int32, positions in `Details.classes`. count: (P,) int32, number of such queries.
    """

    a: np.ndarray
    b: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class Classes:
    """C classes of images with a role.

    names: C texts. label: (C,) int64, in the split. images: (C,) int32, with a role. queries: (C,) int32,
    those with a right image to find. recall_at_1: (C,) float32, NaN without such a query. f1: (C,) float32,
    of the pairs whose query is of the class, at the fitted threshold; NaN without a threshold or a positive
    pair.
    """

    names: tuple[str, ...]
    label: np.ndarray
    images: np.ndarray
    queries: np.ndarray
    recall_at_1: np.ndarray
    f1: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Sweep:
    """Points of the verification curve at T cosine distances, ascending.

    true_positives, false_positives: (T,) int64, accepted ordered pairs. positives, negatives: all of them.
    fitted: the fitted threshold's distance, one of the distances; None where there is none to deploy.
    """

    distance: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    positives: int
    negatives: int
    fitted: float | None

    @property
    def precision(self) -> np.ndarray:
        """(T,), 0 where nothing is accepted."""
        return self.true_positives / np.maximum(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> np.ndarray:
        """(T,), share of the positive pairs that are accepted."""
        return self.true_positives / self.positives

    @property
    def f1(self) -> np.ndarray:
        """(T,)"""
        return 2 * self.true_positives / (self.true_positives + self.false_positives + self.positives)

    @property
    def accepted(self) -> np.ndarray:
        """(T,), share of all pairs that are accepted."""
        return (self.true_positives + self.false_positives) / (self.positives + self.negatives)


@dataclass(frozen=True)
class Histogram:
    """Numbers of ordered pairs by similarity, in B bins of equal width.

    edges: (B + 1,) float64, ascending. positives, negatives: (B,) int64; a pair at an edge is in the bin
    above it, one of similarity 1 in the last. exact_from: the edge from which the numbers of negatives are
    exact. Below it their sum is exact, and is spread over the bins as the pairs of `Details.sampled` queries
    are.
    """

    edges: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    exact_from: float


@dataclass(frozen=True)
class ImageMap:
    """M images in the plane of the two principal components of their unit embeddings.

    index: (M,) int32, ascending. label: (M,) int32, positions in `Details.classes`. x, y: (M,) float32.
    explained: (2,) float32, shares of the variance. vectors: (M, K) float16, the unit embeddings, or their
    first principal components where `reduced`.
    """

    index: np.ndarray
    label: np.ndarray
    x: np.ndarray
    y: np.ndarray
    explained: np.ndarray
    vectors: np.ndarray
    reduced: bool

    def __len__(self) -> int:
        return len(self.index)

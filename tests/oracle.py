"""Naive evaluation as an oracle for the engine: every pair and every ranking one by one, by the definitions.

Only the similarities are computed as in the engine, so that equal scores are equal here too. The vectors of
`exact_directions` do not need that: their products are exact in any order of summation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.similarity_grid import on_grid

_TILE = 512


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32 of unit length, rounded once."""
    wide = np.asarray(vectors, np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def similarities(vectors: np.ndarray) -> np.ndarray:
    """(N, N) float32, N at most 512: one score for each pair, in both orders."""
    rows = np.zeros((_TILE, vectors.shape[1]), np.float32)
    rows[: len(vectors)] = unit(vectors)
    scores = torch.mm(torch.from_numpy(rows), torch.from_numpy(rows).T).numpy()[
        : len(vectors), : len(vectors)
    ]
    return np.triu(scores) + np.triu(scores, 1).T


def exact_similarities(vectors: np.ndarray) -> np.ndarray:
    """(N, N) float32 for vectors whose products are exact, by a loop over dimensions."""
    rows = unit(vectors)
    scores = np.zeros((len(rows), len(rows)), np.float32)
    for at in range(rows.shape[1]):
        scores += rows[:, at, None] * rows[None, :, at]
    return scores


def exact_directions(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 16) float32 with 1, 4 or 16 nonzero entries of ±1, so that the norms are 1, 2 and 4 and cosines
    are multiples of 1/16, many of them equal."""
    vectors = np.zeros((count, 16), np.float32)
    for row in vectors:
        places = generator.permutation(16)[: generator.choice([1, 4, 16])]
        row[places] = generator.choice([-1, 1], size=len(places))
    return vectors


@dataclass(frozen=True)
class Case:
    """A small set of embeddings with their similarities."""

    embeddings: Embeddings
    scores: np.ndarray

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rounded score and truth of every ordered pair (query, gallery image), an image never with
        itself."""
        scores = on_grid(self.scores)
        each = [(scores[i, j], self.same(i, j)) for i, j in self.ordered()]
        return np.array([score for score, _ in each], np.float32), np.array([same for _, same in each], bool)

    def ordered(self) -> Iterator[tuple[int, int]]:
        sample = self.embeddings
        for i, j in itertools.product(range(len(sample)), repeat=2):
            if sample.queries[i] and sample.gallery[j] and self.compared(i, j):
                yield i, j

    def compared(self, i: int, j: int) -> bool:
        """Whether two images are a pair: not an image with itself, nor two of one class and group."""
        groups = self.embeddings.groups
        together = groups is not None and groups[i] == groups[j] and groups[i] >= 0
        return i != j and not (together and self.same(i, j))

    def same(self, i: int, j: int) -> bool:
        return bool(self.embeddings.labels[i] == self.embeddings.labels[j])

    def rankings(self) -> dict[int, list[bool]]:
        """For each query with a positive, whether each image of its ranking is of its class; of equal scores,
        negatives rank first."""
        found = {}
        for query in np.flatnonzero(self.embeddings.queries):
            others = [
                (-self.scores[query, j], self.same(query, j))
                for j in np.flatnonzero(self.embeddings.gallery)
                if self.compared(query, j)
            ]
            relevant = [same for _, same in sorted(others)]
            if any(relevant):
                found[int(query)] = relevant
        return found

    @property
    def comparable(self) -> bool:
        _, same = self.pairs()
        return bool(same.any() and not same.all())


def of_ranking(relevant: list[bool], depths: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Every retrieval metric of one ranking."""
    count = sum(relevant)
    precisions = [sum(relevant[: at + 1]) / (at + 1) for at in range(len(relevant))]
    found = {f"recall_at_{k}": float(any(relevant[:k])) for k in depths}
    found |= {f"precision_at_{k}": sum(relevant[:k]) / k for k in depths if k > 1}
    return found | {
        "r_precision": sum(relevant[:count]) / count,
        "map_at_r": sum(precisions[at] for at in range(count) if relevant[at]) / count,
        "map": sum(precisions[at] for at in range(len(relevant)) if relevant[at]) / count,
        "mrr": 1 / (relevant.index(True) + 1),
    }


def operating_points(scores: np.ndarray, same: np.ndarray) -> list[tuple[float, int, int]]:
    """(threshold, true positives, false positives) at every score, the strictest first."""
    return [
        (
            float(threshold),
            int((same & (scores >= threshold)).sum()),
            int((~same & (scores >= threshold)).sum()),
        )
        for threshold in sorted(set(scores.tolist()), reverse=True)
    ]


def fbeta(true: float, false: float, positives: float, beta: float = 1.0) -> float:
    precision, recall = true / max(true + false, 1), true / positives
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _directions(generator: np.random.Generator, count: int) -> tuple[np.ndarray, Callable]:
    """Vectors of one of several kinds, and the function that computes their similarities."""
    kind = generator.integers(5)
    if kind == 0:
        return exact_directions(generator, count), exact_similarities
    if kind == 1:  # few directions, many of them opposite or equal except for the norm
        vectors = generator.integers(-2, 3, size=(count, generator.integers(2, 5)))
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors.astype(np.float32), similarities
    dim = int(generator.integers(2, 40))
    if kind == 2:  # duplicates among otherwise different vectors
        return generator.normal(size=(count, dim))[generator.integers(count, size=count)], similarities
    if kind == 3:  # collapsed: all equal
        return np.repeat(generator.normal(size=(1, dim)), count, axis=0), similarities
    return generator.normal(size=(count, dim)).astype(np.float32), similarities


def _labels(generator: np.random.Generator, vectors: np.ndarray) -> np.ndarray:
    """Random classes; or one pair and classes of one image; or two large classes; or equal vectors in
    different classes."""
    count = len(vectors)
    kind = generator.integers(4)
    if kind == 0:
        labels = np.arange(count)
        labels[1] = labels[0]
        return generator.permutation(labels) * 7 - 3
    if kind == 1:
        return generator.integers(2, size=count)
    if kind == 2:
        _, twin = np.unique(vectors, axis=0, return_inverse=True)
        twin = twin.ravel()
        return np.array([(twin[:at] == twin[at]).sum() for at in range(count)])
    return generator.integers(int(generator.integers(2, 8)), size=count)


def random_case(generator: np.random.Generator, most: int = 14) -> Case:
    """A case with ties, duplicates, classes of one image, two classes or adversarial labels; equal,
    overlapping or disjoint queries and gallery; no groups, few large groups, or many groups with images in
    none."""
    count = int(generator.integers(2, most + 1))
    vectors, products = _directions(generator, count)
    labels = _labels(generator, vectors)
    queries = gallery = np.ones(count, bool)
    kind = generator.integers(4)
    if kind == 2:
        queries = generator.random(count) < 0.5
        gallery = ~queries
    if kind == 3:
        queries, gallery = generator.random((2, count)) < 0.7
    groups = None
    if (kind := generator.integers(3)) > 0:
        groups = generator.integers(-1, 2 if kind == 1 else count, size=count) * 1000
    sample = Embeddings(vectors, labels, queries, gallery, "test", groups=groups)
    return Case(sample, products(vectors))

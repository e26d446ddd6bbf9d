"""Exact search: the gallery images that are nearest to each query, in NumPy, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.deployment.match import cosine
from mlbench.evaluation.embeddings import Embeddings, vector_norms

__all__ = ["Nearest", "nearest", "rescored"]

#: Gallery rows, and queries, whose similarities are computed at a time.
_ROWS, _QUERIES = 8192, 256

#: Similarities that are so close may be in another order by `cosine`, whose result is float32.
_MARGIN = 2.0**-20

#: Candidates of a query beyond those that it asks for.
_MOST = 4096


@dataclass(frozen=True)
class Nearest:
    """Rows of the gallery for each of Q queries, the nearest first: rows (Q, K), -1 where there are fewer,
    and similarities (Q, K) float32, the cosines."""

    rows: np.ndarray
    similarities: np.ndarray


def nearest(vectors: np.ndarray, queries: np.ndarray, count: int, own: Sequence[int] = ()) -> Nearest:
    """The `count` nearest rows of `vectors` for each query, by `cosine`; of equal ones those that come first.

    vectors: (N, D), queries: (Q, D), of any length but zero. own: for each query a row that is not compared
    with it, -1 for none; () for none at all. Raises DataError for an embedding that is zero or not finite.
    """
    norms = vector_norms(Embeddings.of(vectors, np.zeros(len(vectors), int), "gallery"))
    lengths = vector_norms(Embeddings.of(queries, np.zeros(len(queries), int), "queries"))
    best = [_Candidates(vectors, query, count) for query in queries]
    for top in range(0, len(queries), _QUERIES):
        part = range(top, min(top + _QUERIES, len(queries)))
        wide = queries[part.start : part.stop].astype(np.float64) / lengths[part.start : part.stop, None]
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS].astype(np.float64)
            block /= norms[start : start + _ROWS, None]
            similarities = wide @ block.T
            for place, query in enumerate(part):
                if own and start <= own[query] < start + len(block):
                    similarities[place, own[query] - start] = -np.inf
                best[query].add(similarities[place], start)
    return rescored(vectors, queries, [each.rows for each in best], count)


class _Candidates:
    """Rows that can be among the `count` nearest of a query: their similarities, (R,) float64, are at most
    `_MARGIN` below the smallest of the best."""

    def __init__(self, vectors: np.ndarray, query: np.ndarray, count: int) -> None:
        self.rows = np.empty(0, np.int64)
        self._similarities = np.empty(0)
        self._vectors, self._query, self._count = vectors, query, count

    def add(self, similarities: np.ndarray, start: int) -> None:
        """Add the similarities of a block, whose rows begin at `start`."""
        least = self._least(self._similarities)
        places = np.flatnonzero(similarities > max(least, -2.0))
        if not len(places):
            return
        rows = np.concatenate([self.rows, places + start])
        found = np.concatenate([self._similarities, similarities[places]])
        kept = found > self._least(found)
        self.rows, self._similarities = rows[kept], found[kept]
        if len(self.rows) > self._count + _MOST:  # many are equal
            nearest = rescored(self._vectors, self._query[None], [self.rows], self._count).rows[0]
            inside = np.isin(self.rows, nearest)
            self.rows, self._similarities = self.rows[inside], self._similarities[inside]

    def _least(self, similarities: np.ndarray) -> float:
        """What a similarity must exceed."""
        if len(similarities) < self._count:
            return -np.inf
        return float(np.partition(similarities, -self._count)[-self._count]) - _MARGIN


def rescored(vectors: np.ndarray, queries: np.ndarray, found: Sequence[np.ndarray], count: int) -> Nearest:
    """Rows for each query in the order of their cosines as `mlbench match` computes them, then of the rows;
    at most `count`."""
    rows = np.full((len(queries), count), -1, np.int64)
    similarities = np.full((len(queries), count), -np.inf, np.float32)
    for query, candidates in enumerate(found):
        scored = sorted((-cosine(queries[query], vectors[row]), row) for row in candidates.tolist())[:count]
        rows[query, : len(scored)] = [row for _, row in scored]
        similarities[query, : len(scored)] = [-negative for negative, _ in scored]
    return Nearest(rows, similarities)

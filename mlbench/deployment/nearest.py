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


@dataclass(frozen=True)
class Nearest:
    """Rows of the gallery for each of Q queries, the nearest first: rows (Q, K), -1 where there are fewer,
    and similarities (Q, K) float32, the cosines."""

    rows: np.ndarray
    similarities: np.ndarray


def nearest(vectors: np.ndarray, queries: np.ndarray, count: int, own: Sequence[int] = ()) -> Nearest:
    """The `count` nearest rows of `vectors` for each query, by cosine; of equal ones those that come first.

    vectors: (N, D), queries: (Q, D), of any length but zero. own: for each query a row that is not compared
    with it, -1 for none; () for none at all. Cosines are computed in float64 and compared in float32. Raises
    DataError for an embedding that is zero or not finite.
    """
    norms = vector_norms(Embeddings.of(vectors, np.zeros(len(vectors), int), "gallery"))
    lengths = vector_norms(Embeddings.of(queries, np.zeros(len(queries), int), "queries"))
    best = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    for top in range(0, len(queries), _QUERIES):
        part = range(top, min(top + _QUERIES, len(queries)))
        wide = queries[part.start : part.stop].astype(np.float64) / lengths[part.start : part.stop, None]
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS].astype(np.float64)
            block /= norms[start : start + _ROWS, None]
            similarities = (wide @ block.T).astype(np.float32)
            for place, query in enumerate(part):
                if own and start <= own[query] < start + len(block):
                    similarities[place, own[query] - start] = -np.inf
                best[query] = _merged(*best[query], similarities[place], start, count)
    return rescored(vectors, queries, [rows for rows, _ in best], count)


def _merged(
    rows: np.ndarray, known: np.ndarray, similarities: np.ndarray, start: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best rows so far with those of a block, whose rows begin at `start`."""
    # An equal similarity in a later row does not count.
    least = known[-1] if len(known) == count else np.float32(-np.inf)
    places = np.flatnonzero(similarities > least)
    if not len(places):
        return rows, known
    both = np.concatenate([known, similarities[places]])
    order = np.argsort(-both, kind="stable")[:count]
    return np.concatenate([rows, places + start])[order], both[order]


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

"""Pairs of vectors with a high cosine, the groups that they form, and the correlation of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["MOST_PAIRS", "NearPairs", "components", "correlations", "near_pairs"]

#: Pairs that are kept at most; of more, the most similar ones.
MOST_PAIRS = 1_000_000

#: Which pairs to keep: takes the two rows (P,) and the cosine (P,) of each pair, returns (P,) bool.
Accept = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_ROWS, _COLUMNS = 2048, 8192  # of a block of cosines, 64 MB


class NearPairs(NamedTuple):
    """first, second: (P,) int64 positions, first < second. cosines: (P,) float32. found: number of pairs
    accepted, of which the most similar P are kept. Sorted by position."""

    first: np.ndarray
    second: np.ndarray
    cosines: np.ndarray
    found: int


def near_pairs(
    vectors: np.ndarray,
    threshold: float,
    accept: Accept | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    most: int = MOST_PAIRS,
) -> NearPairs:
    """All pairs of rows with a cosine of at least `threshold` that `accept` accepts.

    vectors: (N, D) floating, of unit length. Takes N * N / 2 products of rows, in blocks of bounded memory.
    """
    kept = NearPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), 0)
    chunks: list[NearPairs] = []
    for pairs in _blocks(vectors, threshold, accept, progress):
        chunks.append(pairs)
        if sum(len(each.first) for each in chunks) > most:
            kept, chunks = _strongest([kept, *chunks], most), []
    kept = _strongest([kept, *chunks], most)
    order = np.lexsort((kept.second, kept.first))
    return NearPairs(kept.first[order], kept.second[order], kept.cosines[order], kept.found)


def components(pairs: NearPairs, count: int) -> np.ndarray:
    """The group of each of `count` vectors: (count,) int, equal for vectors that a chain of pairs joins."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs.first), np.int8)
    graph = coo_array((ones, (pairs.first, pairs.second)), shape=(count, count))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found


def correlations(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of the pixels of each pair: (P,) float32, 0 for an image of one colour.

    thumbnails: (N, D) uint8. first, second: (P,) rows of it.
    """
    found = np.zeros(len(first), np.float32)
    for start in range(0, len(found), _COLUMNS):
        chosen = slice(start, start + _COLUMNS)
        one, two = (thumbnails[each[chosen]].astype(np.float32) for each in (first, second))
        one -= one.mean(1, keepdims=True)
        two -= two.mean(1, keepdims=True)
        scale = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
        found[chosen] = (one * two).sum(1) / np.maximum(scale, 1e-6)
    return found


def _blocks(
    vectors: np.ndarray, threshold: float, accept: Accept | None, progress: Callable[[int, int], None]
) -> Iterator[NearPairs]:
    count = len(vectors)
    for top in range(0, count, _ROWS):
        rows = vectors[top : top + _ROWS].astype(np.float32)
        for left in range(top, count, _COLUMNS):
            cosines = rows @ vectors[left : left + _COLUMNS].astype(np.float32).T
            first, second = np.nonzero(cosines >= threshold)
            values = cosines[first, second]
            first, second = first + top, second + left
            keep = first < second
            first, second, values = first[keep], second[keep], values[keep]
            if accept is not None:
                keep = accept(first, second, values)
                first, second, values = first[keep], second[keep], values[keep]
            yield NearPairs(first, second, values, len(first))
        progress(min(top + _ROWS, count), count)


def _strongest(chunks: list[NearPairs], most: int) -> NearPairs:
    first, second, cosines = (np.concatenate([each[column] for each in chunks]) for column in range(3))
    if len(first) > most:
        # Ties are broken by position, so that the order of the blocks changes nothing.
        keep = np.lexsort((second, first, -cosines))[:most]
        first, second, cosines = first[keep], second[keep], cosines[keep]
    return NearPairs(first, second, cosines, sum(each.found for each in chunks))

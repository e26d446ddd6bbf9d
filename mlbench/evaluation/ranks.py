"""Ranks of each query's positives among all gallery images: the input of every retrieval metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Ranks"]


@dataclass(frozen=True)
class Ranks:
    """Ranks of the positives of Q queries, from 1, best first, in one flat array.

    ranks: (P,) int64. offsets: (Q + 1,) int64; query i has ranks[offsets[i] : offsets[i + 1]], at least one.
    Queries without a positive are left out. Of equal similarities the negative ranks first, so a model that
    maps all images to one point retrieves nothing.
    """

    ranks: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """R, the number of positives of each query, (Q,) int64."""
        return np.diff(self.offsets)

    @property
    def best(self) -> np.ndarray:
        """Rank of each query's first positive, (Q,) int64."""
        return self.ranks[self.offsets[:-1]]

    @property
    def places(self) -> np.ndarray:
        """Position of each rank among its query's positives, from 1, (P,) int64."""
        return np.arange(1, len(self.ranks) + 1) - np.repeat(self.offsets[:-1], self.counts)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum values of positives, (P,), over each query, (Q,)."""
        return np.add.reduceat(values, self.offsets[:-1])

    def within(self, limit: int | np.ndarray) -> np.ndarray:
        """Number of positives with rank at most `limit`, an integer or (Q,); (Q,) int64."""
        limits = np.repeat(np.broadcast_to(limit, self.counts.shape), self.counts)
        return self.total((self.ranks <= limits).astype(np.int64))

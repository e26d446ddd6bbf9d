"""The nearest negative of each query and its number of accepted negatives, from a scan of all pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlbench.evaluation.similarity_grid import STEP, on_grid

__all__ = ["QueryNegatives", "lowest_accepted"]

#: Below every cosine.
_NONE = np.float32(-2.0)


@dataclass(frozen=True)
class QueryNegatives:
    """Of Q queries, in the order of the score matrix; filled by a `PairCounter`.

    threshold: a similarity, on the grid. similarity: (Q,) float32, of the nearest negative, -2 for a query
    without one. place: (Q,) int64, of that image among the gallery images in the order of the score matrix,
    -1 for none; of equal similarities the first, on the CPU. accepted: (Q,) int64, negatives with a rounded
    similarity from the threshold.
    """

    threshold: float
    similarity: np.ndarray
    place: np.ndarray
    accepted: np.ndarray

    @classmethod
    def empty(cls, queries: int, threshold: float) -> QueryNegatives:
        """None found so far."""
        return cls(
            threshold,
            np.full(queries, _NONE, np.float32),
            np.full(queries, -1, np.int64),
            np.zeros(queries, np.int64),
        )

    def add(self, start: int, similarity: np.ndarray, place: np.ndarray, accepted: np.ndarray) -> None:
        """Add what a part of the gallery holds for the queries from `start`, (n,) each. In any order of the
        parts the result is the same."""
        part = slice(start, start + len(similarity))
        known, places = self.similarity[part], self.place[part]
        nearer = (similarity > known) | ((similarity == known) & (place < places))
        nearer &= similarity > _NONE
        known[nearer], places[nearer] = similarity[nearer], place[nearer]
        self.accepted[part] += accepted


def lowest_accepted(threshold: float) -> np.float32:
    """The lowest float32 similarity that is accepted at a threshold on the grid once it is rounded."""
    if threshold > 1 + STEP:
        return np.float32(np.inf)
    edge = np.float32(threshold - STEP / 2)
    # Half a step is rounded to the even multiple.
    return edge if on_grid(edge) >= np.float32(threshold) else np.nextafter(edge, np.float32(np.inf))

"""What a scan of all pairs finds of each query: its first positive, its nearest negative, accepted pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlbench.evaluation.query_negatives import QueryNegatives, lowest_accepted

__all__ = ["QueryPositives", "QueryScores"]


@dataclass(frozen=True)
class QueryPositives:
    """Of Q queries, in the order of the score matrix; filled while the positives are known.

    rank: (Q,) int64, of the first positive, 0 for a query without one. highest, lowest: (Q,) float32, the
    similarity of the most and of the least similar positive, NaN for none. accepted: (Q,) int64, positives
    with a rounded similarity from the threshold.
    """

    rank: np.ndarray
    highest: np.ndarray
    lowest: np.ndarray
    accepted: np.ndarray

    @classmethod
    def empty(cls, queries: int) -> QueryPositives:
        """None found so far."""
        counts = np.zeros((2, queries), np.int64)
        scores = np.full((2, queries), np.nan, np.float32)
        return cls(counts[0], scores[0], scores[1], counts[1])

    def add(
        self,
        start: int,
        positives: np.ndarray,
        offsets: np.ndarray,
        first_ranks: np.ndarray,
        threshold: float,
    ) -> None:
        """Add the positives of the queries from `start`.

        positives: (P,) float32, ascending within each query, from offsets[i] to offsets[i + 1], less
        offsets[0]. first_ranks: of the queries that have a positive.
        """
        offsets = offsets - offsets[0]
        part = slice(start, start + len(offsets) - 1)
        known = np.diff(offsets) > 0
        self.rank[part][known] = first_ranks
        self.highest[part][known] = positives[offsets[1:][known] - 1]
        self.lowest[part][known] = positives[offsets[:-1][known]]
        reaching = np.append(0, np.cumsum(positives >= lowest_accepted(threshold)))
        self.accepted[part] = np.diff(reaching[offsets])


@dataclass(frozen=True)
class QueryScores:
    """Both kinds of pairs of each query, in the order of the score matrix."""

    positives: QueryPositives
    negatives: QueryNegatives

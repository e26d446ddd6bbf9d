"""What a scan of all pairs needs from the code that scores and counts pairs on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.query_negatives import QueryNegatives

__all__ = ["PairCounter", "PairCounts", "Progress"]

#: Called with the number of tiles done and of all tiles.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PairCounts:
    """Counts of negative pairs.

    above, ties: (E,) int64, negatives at or above each edge, and equal to it. between: (P,) int32, negatives
    of the same query at or above each positive and below the query's next positive.
    """

    above: np.ndarray
    ties: np.ndarray
    between: np.ndarray


class PairCounter(Protocol):
    """Scores pairs in tiles on one device and counts them. tile: side of a tile."""

    @property
    def tile(self) -> int: ...

    def scores(self, start: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
        """Scores of the queries [start, end), at most a tile high, with all gallery images: the first column
        of each tile and its scores, (end - start, columns) float32, which the next tile may overwrite."""
        ...

    def positives(self, start: int, end: int) -> np.ndarray:
        """Scores of the positives of queries [start, end), (P,) float32, ascending within each query."""
        ...

    def negatives(
        self,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        histograms: ClassHistograms | None,
        progress: Progress,
        nearest: QueryNegatives | None = None,
    ) -> PairCounts:
        """Count the negatives of queries [start, end) and add them to `histograms.negatives` and `nearest`.

        positives: from `positives`. edges: (E,) float32 thresholds, ascending, on the grid; rounded scores
        are compared with them. If the pairs are mirrored and all queries are counted, each pair counts in
        both orders.
        """
        ...

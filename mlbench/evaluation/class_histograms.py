"""Histograms of similarity by class, from which the verification curve of any weighting of classes
follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlbench.evaluation.curve import Curve
from mlbench.evaluation.similarity_grid import STEP

__all__ = ["ClassHistograms"]


@dataclass(frozen=True)
class ClassHistograms:
    """Counts of ordered pairs by class in B bins of equal width, lowest first, by their unrounded scores.

    floor: similarity where the first bin starts. width: of a bin. positives: (C, B) float64. negatives: (C,
    B) float64; a pair counts for both of its classes. all_positives, all_negatives: (C,) float64, the same
    counts with the pairs below the floor.
    """

    floor: float
    width: float
    positives: np.ndarray
    negatives: np.ndarray
    all_positives: np.ndarray
    all_negatives: np.ndarray

    def curve(self, weights: np.ndarray | None = None) -> Curve:
        """Curves at the lower edges of the bins, with one leading axis of length n.

        weights: (n, C) of the classes; None for one curve with all weights 1. Counts of negative pairs are
        first-order estimates (see `mlbench.evaluation.bootstrap`).
        """
        count = self.positives.shape[1]
        w = np.ones((1, len(self.positives))) if weights is None else weights

        def negatives(by_class: np.ndarray) -> np.ndarray:
            # Each pair is counted with both of its classes.
            return np.maximum(by_class.sum(0) / 2 + (w - 1) @ by_class, 0)

        ties = negatives(self.negatives)[:, ::-1]
        false = np.cumsum(ties, axis=-1)
        return Curve(
            # A threshold accepts unrounded scores down to half a step below it.
            similarities=self.floor + STEP / 2 + self.width * np.arange(count - 1, -1, -1),
            true_positives=np.cumsum((w @ self.positives)[:, ::-1], axis=-1),
            false_positives=false,
            ties=ties,
            positives=w @ self.all_positives,
            negatives=np.maximum(negatives(self.all_negatives[:, None])[:, 0], false[:, -1]),
            resolution=self.width,
        )

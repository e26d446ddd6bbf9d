"""The verification curve: how many positive and negative pairs each threshold accepts.

A pair is accepted (predicted to show the same class) if its cosine similarity is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.contracts.evaluation import ACCEPT_NOTHING

__all__ = ["Curve"]


@dataclass(frozen=True)
class Curve:
    """Counts of ordered pairs that are accepted at T thresholds, the strictest threshold first.

    similarities: (T,) float64, the thresholds, descending, distinct. true_positives, false_positives: (...,
    T) accepted positive and negative pairs. ties: (..., T) negative pairs exactly at the threshold.
    positives, negatives: (...) numbers of all pairs. Leading axes, if any, are resamples. repeated: number of
    negative pairs that are counted in both orders. resolution: width of the histogram bins that the curve
    comes from; 0 for an exact curve, whose thresholds include the score of every positive pair, so that no
    quantity that grows with recall is better between two thresholds.
    """

    similarities: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    ties: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    repeated: int = 0
    resolution: float = 0.0

    @classmethod
    def of(cls, scores: np.ndarray, same: np.ndarray, thresholds: Sequence[float] = ()) -> Curve:
        """The exact curve of given pairs.

        scores: (P,) float32 similarities. same: (P,) bool, whether a pair is positive. thresholds: to include
        besides the scores of the positive pairs.
        """
        scores = np.asarray(scores, np.float32)
        edges = np.unique(np.concatenate([scores[same], np.array(thresholds, np.float32)]))
        counts = []
        for members in (np.sort(scores[same]), np.sort(scores[~same])):
            reaching, above = (
                len(members) - np.searchsorted(members, edges, side) for side in ("left", "right")
            )
            counts.append((reaching[::-1], (reaching - above)[::-1]))
        (accepted, _), (false, ties) = counts
        similarities = edges[::-1].astype(np.float64)
        return cls(similarities, accepted, false, ties, np.array(same.sum()), np.array((~same).sum()))

    @property
    def distances(self) -> np.ndarray:
        """The thresholds as cosine distances, (T,)."""
        return 1.0 - self.similarities

    @property
    def tpr(self) -> np.ndarray:
        """Recall at each threshold, (..., T)."""
        return self.true_positives / np.expand_dims(self.positives, -1)

    @property
    def fpr(self) -> np.ndarray:
        """Share of the negative pairs that each threshold accepts, (..., T)."""
        return self.false_positives / np.expand_dims(self.negatives, -1)

    @property
    def precision(self) -> np.ndarray:
        """TP / (TP + FP) at each threshold, (..., T); 0 where nothing is accepted."""
        return self.true_positives / np.maximum(self.true_positives + self.false_positives, 1)

    def fbeta(self, beta: float = 1.0) -> np.ndarray:
        """(1 + b²) TP / ((1 + b²) TP + b² FN + FP) at each threshold, (..., T)."""
        weight = beta * beta
        hits, false = self.true_positives, self.false_positives
        missed = np.expand_dims(self.positives, -1) - hits
        return (1 + weight) * hits / ((1 + weight) * hits + weight * missed + false)

    @property
    def accuracy(self) -> np.ndarray:
        """(TP + TN) / all pairs at each threshold, (..., T)."""
        negatives = np.expand_dims(self.negatives, -1)
        correct = self.true_positives + negatives - self.false_positives
        return correct / (np.expand_dims(self.positives, -1) + negatives)

    def at(self, similarity: float) -> Curve:
        """The curve at one threshold: exact at a threshold of the curve, linear between two of them. No pair
        is accepted at `ACCEPT_NOTHING`."""
        if similarity >= ACCEPT_NOTHING:
            nothing = np.zeros((*self.positives.shape, 1), self.true_positives.dtype)
            return replace(
                self,
                similarities=np.array([similarity]),
                true_positives=nothing,
                false_positives=nothing,
                ties=nothing,
            )
        sims = np.concatenate(
            [[max(1.0, similarity) + 1e-6], self.similarities, [min(-1.0, similarity) - 1e-6]]
        )
        after = int(np.searchsorted(-sims, -similarity))
        share = (sims[after - 1] - similarity) / (sims[after - 1] - sims[after])

        def between(counts: np.ndarray, most: np.ndarray) -> np.ndarray:
            low = counts[..., after - 2] if after >= 2 else np.zeros_like(most)
            high = counts[..., after - 1] if after <= len(self.similarities) else most
            return (low + share * (high - low) if share < 1 else high)[..., None]

        return replace(
            self,
            similarities=np.array([similarity]),
            true_positives=between(self.true_positives, self.positives),
            false_positives=between(self.false_positives, self.negatives),
            ties=np.zeros_like(self.ties[..., :1]),
        )

    @property
    def auroc(self) -> np.ndarray:
        """Area under the ROC, (...): the probability that a positive pair scores above a negative pair, where
        equal scores count half."""
        gained = np.diff(self.true_positives, prepend=0, axis=-1)
        negatives = np.expand_dims(self.negatives, -1)
        below = negatives - self.false_positives + 0.5 * self.ties
        missed = self.positives - self.true_positives[..., -1]
        # Positives below every threshold (none on an exact curve) are spread evenly over the last segment.
        rest = 0.5 * missed * (self.negatives - self.false_positives[..., -1])
        # Two divisions: the product of both counts may exceed 64 bits.
        return ((gained * below).sum(-1) + rest) / self.positives / self.negatives

    @property
    def average_precision(self) -> np.ndarray:
        """Sum over thresholds of the gain in recall times precision, (...)."""
        gained = np.diff(self.true_positives, prepend=0, axis=-1)
        return (gained * self.precision).sum(-1) / self.positives

    @property
    def eer(self) -> np.ndarray:
        """Equal error rate, (...): FPR where the ROC crosses FPR = 1 - TPR, linear on slanted segments (equal
        scores of positives and negatives)."""
        fpr, tpr = self.fpr, self.tpr
        # The first threshold with FPR >= 1 - TPR; without one, the point that accepts all pairs.
        after = (fpr + tpr < 1).sum(-1)[..., None]
        start, low = _take(fpr, after - 1, 0.0), _take(tpr, after - 1, 0.0)
        end, high = _take(fpr, after, 1.0), _take(tpr, after, 1.0)
        # From the previous threshold the ROC is level up to this corner, then slanted up to the threshold.
        ties = _take(self.ties, after, np.inf) / np.expand_dims(self.negatives, -1)
        corner = np.maximum(start, end - ties)
        share = (1 - low - corner) / np.maximum(end - corner + high - low, 1e-300)
        return np.where(corner + low >= 1, 1 - low, corner + share * (end - corner))[..., 0]

    def within(self, fpr: float) -> np.ndarray:
        """Whether each threshold accepts at most this share of the negative pairs, (..., T) bool."""
        allowed = np.expand_dims(fpr * self.negatives, -1)
        # A share that is a whole number of negatives must not fail by rounding.
        return self.false_positives <= allowed + 1e-9 * (allowed + 1)

    def tpr_at_fpr(self, most: float) -> np.ndarray:
        """Best recall of all thresholds that accept at most this share of the negative pairs, (...).

        Linear between the thresholds of a curve that is not exact (see `resolution`).
        """
        allowed = most * self.negatives
        inside = self.within(most).sum(-1)[..., None]
        tpr = np.concatenate([np.zeros_like(self.tpr[..., :1]), self.tpr], -1)
        reached = np.take_along_axis(tpr, inside, -1)[..., 0]
        if self.resolution == 0:
            return reached
        zero = np.zeros_like(tpr[..., :1])
        tpr, false = (
            np.concatenate(both, -1) for both in ((tpr, zero + 1), (zero, self.false_positives, zero))
        )
        false[..., -1] = self.negatives
        after = np.minimum(inside + 1, tpr.shape[-1] - 1)
        low, high = (np.take_along_axis(false, at, -1)[..., 0] for at in (inside, after))
        share = np.clip((allowed - low) / np.maximum(high - low, 1e-12), 0, 1)
        return reached + share * (np.take_along_axis(tpr, after, -1)[..., 0] - reached)

    def strictest(self, allowed: np.ndarray) -> float | None:
        """The strictest of the allowed thresholds with the highest recall; None if none of them accepts a
        positive pair. allowed: (T,) bool. Only for a curve without leading axes."""
        inside = np.flatnonzero(allowed)
        if len(inside) == 0 or self.true_positives[inside[-1]] == 0:
            return None
        return float(self.similarities[np.searchsorted(self.true_positives, self.true_positives[inside[-1]])])

    def resolvable(self, fpr: float) -> bool:
        """Whether there are enough negative pairs for this rate: one false positive does not exceed it. Only
        for a curve without leading axes."""
        return fpr * self.distinct_negatives >= 1

    @property
    def distinct_negatives(self) -> int:
        """Number of negative pairs, each counted once."""
        return int(self.negatives) - self.repeated


def _take(values: np.ndarray, at: np.ndarray, outside: float) -> np.ndarray:
    """values[..., at], or `outside` for an index out of range. at: (..., 1)."""
    last = values.shape[-1] - 1
    return np.where((at < 0) | (at > last), outside, np.take_along_axis(values, np.clip(at, 0, last), -1))

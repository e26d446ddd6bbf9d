"""The verification curve: how many positive and negative pairs each threshold accepts, and what follows.

Two images are predicted to be the same when their cosine similarity is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Curve"]


@dataclass(frozen=True)
class Curve:
    """Counts of ordered pairs at or above each threshold, the strictest first.

    similarities: (T,) float64, descending, distinct. accepted: (..., T) positives, false: (..., T) negatives
    at or above. ties: (..., T) negatives exactly at. positives, negatives: (...) of all pairs. The leading
    axes, if any, are resamples. repeated: negative pairs that are counted in both orders. Every positive
    pair's score is among the thresholds, so nothing that rises with recall can have a better value between
    two of them, up to `resolution`: the width of the bands in which scores were counted, 0 for none.
    """

    similarities: np.ndarray
    accepted: np.ndarray
    false: np.ndarray
    ties: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    repeated: int = 0
    resolution: float = 0.0

    @classmethod
    def of(cls, scores: np.ndarray, same: np.ndarray, thresholds: Sequence[float] = ()) -> Curve:
        """The curve of given pairs. scores: (P,) float32 similarities; same: (P,) bool; thresholds: that it
        shall have besides the scores of positives."""
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
        return self.accepted / np.expand_dims(self.positives, -1)

    @property
    def fpr(self) -> np.ndarray:
        """Share of negatives accepted at each threshold, (..., T)."""
        return self.false / np.expand_dims(self.negatives, -1)

    @property
    def precision(self) -> np.ndarray:
        """TP / (TP + FP) at each threshold, (..., T); 0 where nothing is accepted."""
        return self.accepted / np.maximum(self.accepted + self.false, 1)

    def fbeta(self, beta: float = 1.0) -> np.ndarray:
        """(1 + b²) TP / ((1 + b²) TP + b² FN + FP) at each threshold, (..., T)."""
        weight = beta * beta
        missed = np.expand_dims(self.positives, -1) - self.accepted
        return (1 + weight) * self.accepted / ((1 + weight) * self.accepted + weight * missed + self.false)

    @property
    def accuracy(self) -> np.ndarray:
        """(TP + TN) / all pairs at each threshold, (..., T)."""
        negatives = np.expand_dims(self.negatives, -1)
        return (self.accepted + negatives - self.false) / (np.expand_dims(self.positives, -1) + negatives)

    def at(self, similarity: float) -> Curve:
        """The curve at one threshold: exact at a threshold of the curve, elsewhere linear between two."""
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
            accepted=between(self.accepted, self.positives),
            false=between(self.false, self.negatives),
            ties=np.zeros_like(self.ties[..., :1]),
        )

    @property
    def auroc(self) -> np.ndarray:
        """Area under the ROC, (...): the chance that a positive pair scores above a negative one, equal
        scores counting half."""
        gained = np.diff(self.accepted, prepend=0, axis=-1)
        negatives = np.expand_dims(self.negatives, -1)
        below = negatives - self.false + 0.5 * self.ties
        missed = self.positives - self.accepted[..., -1]
        # Positives below every threshold (none, on an exact curve) share the last stretch evenly.
        rest = 0.5 * missed * (self.negatives - self.false[..., -1])
        # Not by their product, which need not fit in 64 bits.
        return ((gained * below).sum(-1) + rest) / self.positives / self.negatives

    @property
    def average_precision(self) -> np.ndarray:
        """Sum over thresholds of the gain in recall times precision, (...)."""
        gained = np.diff(self.accepted, prepend=0, axis=-1)
        return (gained * self.precision).sum(-1) / self.positives

    @property
    def eer(self) -> np.ndarray:
        """Equal error rate, (...): where the ROC meets FPR = 1 - TPR; on its slanted stretches (equal
        scores of positives and negatives) linear."""
        fpr, tpr = self.fpr, self.tpr
        # The first threshold with FPR >= 1 - TPR; if there is none, all pairs are accepted after the last.
        after = (fpr + tpr < 1).sum(-1)[..., None]
        start, low = _take(fpr, after - 1, 0.0), _take(tpr, after - 1, 0.0)
        end, high = _take(fpr, after, 1.0), _take(tpr, after, 1.0)
        # From the threshold before, the ROC runs level to this corner, then slants to the threshold.
        ties = _take(self.ties, after, np.inf) / np.expand_dims(self.negatives, -1)
        corner = np.maximum(start, end - ties)
        share = (1 - low - corner) / np.maximum(end - corner + high - low, 1e-300)
        return np.where(corner + low >= 1, 1 - low, corner + share * (end - corner))[..., 0]

    def within(self, fpr: float) -> np.ndarray:
        """Which thresholds accept at most this share of the negatives, (..., T) bool."""
        allowed = np.expand_dims(fpr * self.negatives, -1)
        # Negatives are counted: a share that is a whole number of them must not fail by rounding.
        return self.false <= allowed + 1e-9 * (allowed + 1)

    def tpr_at_fpr(self, most: float) -> np.ndarray:
        """Best recall of all thresholds that accept at most this share of the negatives, (...).

        Between the thresholds of a curve that is not exact (`resolution`) it is linear.
        """
        allowed = most * self.negatives
        inside = self.within(most).sum(-1)[..., None]
        tpr = np.concatenate([np.zeros_like(self.tpr[..., :1]), self.tpr], -1)
        reached = np.take_along_axis(tpr, inside, -1)[..., 0]
        if self.resolution == 0:
            return reached
        zero = np.zeros_like(tpr[..., :1])
        tpr, false = (np.concatenate(both, -1) for both in ((tpr, zero + 1), (zero, self.false, zero)))
        false[..., -1] = self.negatives
        after = np.minimum(inside + 1, tpr.shape[-1] - 1)
        low, high = (np.take_along_axis(false, at, -1)[..., 0] for at in (inside, after))
        share = np.clip((allowed - low) / np.maximum(high - low, 1e-12), 0, 1)
        return reached + share * (np.take_along_axis(tpr, after, -1)[..., 0] - reached)

    def strictest(self, reached: np.ndarray) -> float | None:
        """The strictest threshold with the highest recall among those marked in `reached`, (T,) bool; None
        when none is marked or all those accept no positive. For one curve, without leading axes."""
        inside = np.flatnonzero(reached)
        if len(inside) == 0 or self.accepted[inside[-1]] == 0:
            return None
        return float(self.similarities[np.searchsorted(self.accepted, self.accepted[inside[-1]])])

    def resolvable(self, fpr: float) -> bool:
        """Are there enough negatives for this rate: would one false pair in all keep within it? For one
        curve, without leading axes."""
        return fpr * self.distinct_negatives >= 1

    @property
    def distinct_negatives(self) -> int:
        """Negatives with each pair counted once."""
        return int(self.negatives) - self.repeated


def _take(values: np.ndarray, at: np.ndarray, outside: float) -> np.ndarray:
    """values[..., at], and `outside` where there is no such place. at: (..., 1)."""
    last = values.shape[-1] - 1
    return np.where((at < 0) | (at > last), outside, np.take_along_axis(values, np.clip(at, 0, last), -1))

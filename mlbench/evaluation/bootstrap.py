"""Confidence intervals of metrics by a bootstrap over classes.

Images of one class resemble each other, and so do the pairs of one image. The bootstrap therefore resamples
whole classes, with all their queries and pairs. No pair is scored again. A mean over queries is a ratio of
sums over classes. The count of positive pairs is a sum over classes. The count of negative pairs is a sum
over pairs of classes, a U-statistic: with class weights w around 1, the sum of w_a w_b n_ab is, to first
order (Hájek's projection), the total plus the sum of (w_a - 1) n_a, where n_a counts the pairs of class a.

Rankings are not resampled: the gallery is part of the test, not of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.curve import Curve

__all__ = ["Bootstrap"]

#: Most resamples that are drawn together, and most classes drawn for them, each of which takes a few times 8
#: bytes.
_TOGETHER = 128
_DRAWN = 1 << 21


class Bootstrap:
    """Resamples of classes drawn with replacement; every call uses the same resamples.

    level: of the intervals, which exclude (1 - level) / 2 of the resamples on each side.
    """

    def __init__(self, classes: int, resamples: int, level: float, generator: np.random.Generator) -> None:
        self.resamples, self.level = resamples, level
        self._classes = classes
        self._state = generator.bit_generator.state
        self._generator = generator

    def weights(self) -> Iterator[np.ndarray]:
        """Number of times that each class is drawn, (n, classes) float64, for n resamples at a time."""
        self._generator.bit_generator.state = self._state
        together = min(_TOGETHER, max(1, _DRAWN // self._classes))
        for start in range(0, self.resamples, together):
            count = min(together, self.resamples - start)
            drawn = self._generator.integers(self._classes, size=(count, self._classes))
            drawn += np.arange(count)[:, None] * self._classes
            drawn = np.bincount(drawn.ravel(), minlength=count * self._classes)
            yield drawn.reshape(count, self._classes).astype(np.float64)

    def means(self, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Means of each resample, (resamples, M). values: (Q, M) of queries; classes: (Q,) their classes."""
        sums = np.stack([np.bincount(classes, each, self._classes) for each in values.T], axis=1)
        counts = np.bincount(classes, minlength=self._classes)
        # One thread: the way threads split a product can change its last bits.
        with threadpool_limits(1), np.errstate(invalid="ignore"):
            return np.concatenate([(w @ sums) / (w @ counts)[:, None] for w in self.weights()])

    def curves(self, histograms: ClassHistograms) -> Iterator[Curve]:
        """Verification curves of the resamples, some at a time; their counts are first-order estimates."""
        with threadpool_limits(1):
            for weights in self.weights():
                yield histograms.curve(weights)

    def interval(self, value: float, centre: float, resampled: np.ndarray) -> tuple[float, float] | None:
        """Percentile interval of a value, or None if no resample has a finite value.

        centre: the value whose deviations `resampled`, (resamples,), shows: the value itself, or its estimate
        by the same method as `resampled`. The interval is shifted by value - centre and clipped to the range
        of the value and all resamples, so that it cannot reach impossible values such as a share above 1.
        """
        found = resampled[np.isfinite(resampled)]
        if len(found) == 0:
            return None
        tail = (1 - self.level) / 2
        low, high = np.quantile(found, [tail, 1 - tail])
        ends = np.array([value + low - centre, value + high - centre])
        low, high = np.clip(ends, min(value, found.min()), max(value, found.max()))
        return float(low), float(high)

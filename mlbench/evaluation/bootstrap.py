"""Intervals: how far a metric could have come out otherwise with other classes (bootstrap over classes).

Images of a class resemble each other, and so do the pairs of an image: only classes are drawn anew, with all
their queries and pairs. Nothing is scored again. A mean over queries is a ratio of sums over classes. Counts
of positive pairs are sums over classes. Counts of negative pairs are sums over pairs of classes, a
U-statistic: with weights w around 1 the sum of w_a w_b n_ab is, to first order (Hájek's projection), the
total plus the sum of (w_a - 1) n_a, where n_a counts the pairs that class a takes part in.

Rankings are kept as they are: the gallery that a query searches is part of the test, not of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from mlbench.evaluation.curve import Curve
from mlbench.evaluation.pair_scan import Bands
from mlbench.evaluation.similarity_grid import STEP

__all__ = ["Bootstrap", "banded_curve"]

#: Resamples that are drawn together at most, and classes drawn for them, which take 8 bytes several times.
_TOGETHER = 128
_DRAWN = 1 << 21


class Bootstrap:
    """Draws classes with replacement, the same ones whenever it is asked again.

    level: of the intervals, which leave out (1 - level) / 2 of the resamples on either side.
    """

    def __init__(self, classes: int, resamples: int, level: float, generator: np.random.Generator) -> None:
        self.resamples, self.level = resamples, level
        self._classes = classes
        self._state = generator.bit_generator.state
        self._generator = generator

    def weights(self) -> Iterator[np.ndarray]:
        """How often each class was drawn: (n, classes) float64 for some resamples at a time."""
        self._generator.bit_generator.state = self._state
        together = min(_TOGETHER, max(1, _DRAWN // self._classes))
        for start in range(0, self.resamples, together):
            count = min(together, self.resamples - start)
            drawn = self._generator.integers(self._classes, size=(count, self._classes))
            drawn += np.arange(count)[:, None] * self._classes
            drawn = np.bincount(drawn.ravel(), minlength=count * self._classes)
            yield drawn.reshape(count, self._classes).astype(np.float64)

    def means(self, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Means of each resample, (resamples, M). values: (Q, M) of queries; classes: (Q,) of which class."""
        sums = np.stack([np.bincount(classes, each, self._classes) for each in values.T], axis=1)
        counts = np.bincount(classes, minlength=self._classes)
        # One thread: how threads share a product may change its last bits.
        with threadpool_limits(1), np.errstate(invalid="ignore"):
            return np.concatenate([(w @ sums) / (w @ counts)[:, None] for w in self.weights()])

    def curves(self, bands: Bands) -> Iterator[Curve]:
        """Verification curves, for some resamples at a time; their counts are first-order estimates."""
        with threadpool_limits(1):
            for weights in self.weights():
                yield banded_curve(bands, weights)

    def interval(self, value: float, centre: float, resampled: np.ndarray) -> tuple[float, float] | None:
        """Percentile interval of a value, None where no resample has one. centre: what resamples deviate
        from: the value itself, or its estimate by the means that gave `resampled`, (resamples,); not finite
        where it has none. An interval ends where the value and all resamples do: moving it from the centre to
        the value must not lead to what the metric cannot be, such as a share above 1."""
        found = resampled[np.isfinite(resampled)]
        if len(found) == 0:
            return None
        tail = (1 - self.level) / 2
        low, high = np.quantile(found, [tail, 1 - tail])
        ends = np.array([value + low - centre, value + high - centre])
        low, high = np.clip(ends, min(value, found.min()), max(value, found.max()))
        return float(low), float(high)


def banded_curve(bands: Bands, weights: np.ndarray | None = None) -> Curve:
    """The curve at the lower edges of the bands; with weights of the classes, (n, C), n such curves."""
    count = bands.positives.shape[1]
    w = np.ones((1, len(bands.positives))) if weights is None else weights

    def negatives(by_class: np.ndarray) -> np.ndarray:
        # Each pair stands with both of its classes.
        return np.maximum(by_class.sum(0) / 2 + (w - 1) @ by_class, 0)

    accepted = np.cumsum((w @ bands.positives)[:, ::-1], axis=-1)
    ties = negatives(bands.negatives)[:, ::-1]
    false = np.cumsum(ties, axis=-1)
    return Curve(
        # A score is accepted by the threshold that it would be rounded to, half a step above it at most.
        similarities=bands.floor + STEP / 2 + bands.width * np.arange(count - 1, -1, -1),
        accepted=accepted,
        false=false,
        ties=ties,
        positives=w @ bands.all_positives,
        negatives=np.maximum(negatives(bands.all_negatives[:, None])[:, 0], false[:, -1]),
        resolution=bands.width,
    )

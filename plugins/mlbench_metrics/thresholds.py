"""Threshold policies: which threshold of the calibration curve is the one to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.errors import ThresholdError

if TYPE_CHECKING:
    import numpy as np

    from mlbench.evaluation.curve import Curve

__all__ = ["BestAccuracy", "BestFBeta", "Fixed", "FprAtMost", "PrecisionAtLeast", "best_f1"]

Share = Annotated[float, Field(gt=0, lt=1)]


def _needed(curve: Curve | None) -> Curve:
    if curve is None:
        raise ThresholdError("a threshold is fitted on a calibration split, and there is none")
    return curve


def _best(curve: Curve, score: np.ndarray) -> float:
    # argmax takes the first of equals, the strictest threshold.
    return float(curve.similarities[score.argmax()])


class BestFBeta:
    """The threshold with the best F-beta; of equals the strictest.

    Options
    -------
    beta: above 0; below 1 when a false match is worse than a miss.
    """

    def __init__(self, *, beta: Annotated[float, Field(gt=0)] = 0.5) -> None:
        self._beta = beta

    def __call__(self, curve: Curve | None) -> float:
        curve = _needed(curve)
        return _best(curve, curve.fbeta(self._beta))


def best_f1() -> BestFBeta:
    """The threshold with the best F1; of equals the strictest."""
    return BestFBeta(beta=1.0)


class BestAccuracy:
    """The threshold that judges most pairs rightly, as the k-fold protocol of face verification asks. Where
    negatives are many more than positives, prefer another."""

    def __call__(self, curve: Curve | None) -> float:
        curve = _needed(curve)
        return _best(curve, curve.accuracy)


class PrecisionAtLeast:
    """The threshold with the best recall of those whose precision is at least `precision`.

    Options
    -------
    precision: in (0, 1).
    """

    def __init__(self, *, precision: Share) -> None:
        self._precision = precision

    def __call__(self, curve: Curve | None) -> float:
        curve = _needed(curve)
        threshold = curve.strictest(curve.precision >= self._precision)
        if threshold is None:
            best = curve.precision.max()
            raise ThresholdError(
                f"no threshold reaches precision {self._precision:g} on the calibration split; "
                f"the best is {best:.3f}"
            )
        return threshold


class FprAtMost:
    """The threshold with the best recall of those that accept at most the share `fpr` of negative pairs.

    Options
    -------
    fpr: in (0, 1).
    """

    def __init__(self, *, fpr: Share) -> None:
        self._fpr = fpr

    def __call__(self, curve: Curve | None) -> float:
        curve = _needed(curve)
        if not curve.resolvable(self._fpr):
            raise ThresholdError(
                f"a false positive rate of {self._fpr:g} needs {1 / self._fpr:,.0f} negative pairs; "
                f"the calibration split has {curve.distinct_negatives:,}"
            )
        threshold = curve.strictest(curve.within(self._fpr))
        if threshold is None:
            raise ThresholdError(
                f"no threshold accepts a positive pair of the calibration split at a false positive rate of "
                f"{self._fpr:g}"
            )
        return threshold


class Fixed:
    """A threshold that is known already; nothing is fitted.

    Options
    -------
    distance: cosine distance at and below which two images are the same.
    """

    def __init__(self, *, distance: Annotated[float, Field(ge=0, le=2)]) -> None:
        self._distance = distance

    def __call__(self, curve: Curve | None) -> float:
        return 1.0 - self._distance

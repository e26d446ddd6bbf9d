"""Threshold policies: which threshold of the calibration curve is the one to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from mlbench.contracts import Target
from mlbench.errors import OptionError, ThresholdError

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
        self.target = Target("precision", precision)

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
        self.target = Target("fpr", fpr, at_most=True)

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


def _at_most_two(value: object) -> object:
    if isinstance(value, int | float) and value > 2:
        raise ValueError(
            "unit vectors are at most 2 apart, cosine or Euclidean; a cosine distance is half of the square "
            "of a Euclidean one"
        )
    return value


Distance = Annotated[float, Field(ge=0, le=2), BeforeValidator(_at_most_two)]


class Fixed:
    """A threshold that is known already; nothing is fitted.

    Options
    -------
    distance: cosine distance (1 - cosine) at and below which two images are the same.
    euclidean: the same as the Euclidean distance of unit vectors, whose square is twice the cosine distance;
        one of the two is needed.
    """

    def __init__(self, *, distance: Distance | None = None, euclidean: Distance | None = None) -> None:
        if distance is not None and euclidean is None:
            self._distance = distance
        elif euclidean is not None and distance is None:
            self._distance = euclidean**2 / 2
        else:
            raise OptionError(
                "threshold 'fixed' takes one of distance (cosine) and euclidean, as in distance: 0.3",
                "euclidean" if distance is not None else "",
            )
        self.notes: tuple[str, ...] = ()
        if distance is not None and distance > 1:
            self.notes = (
                f"threshold distance {distance:g} looks like a Euclidean distance (a cosine distance above 1 "
                f"accepts nearly all pairs); if it is one, write euclidean: {distance:g} (cosine distance "
                f"{distance**2 / 2:.3g})",
            )

    def __call__(self, curve: Curve | None) -> float:
        return 1.0 - self._distance

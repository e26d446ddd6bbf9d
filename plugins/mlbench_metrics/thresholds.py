"""Threshold policies: which threshold of the calibration curve to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from mlbench.plugin import OptionError, Target, ThresholdError, ThresholdOptions

if TYPE_CHECKING:
    import numpy as np

    from mlbench.plugin import Curve

__all__ = ["BestAccuracy", "BestF1", "BestFBeta", "Fixed", "FprAtMost", "PrecisionAtLeast"]

_Share = Annotated[float, Field(gt=0, lt=1)]


def _required(curve: Curve | None) -> Curve:
    if curve is None:
        raise ThresholdError("a threshold is fitted on a calibration split, and there is none")
    return curve


def _strictest_best(curve: Curve, score: np.ndarray) -> float:
    # Thresholds are sorted from strict to loose, and argmax takes the first of equal scores.
    return float(curve.similarities[score.argmax()])


class BestF1(ThresholdOptions):
    """The threshold with the best F1; the strictest one of several."""

    def __call__(self, curve: Curve | None) -> float:
        curve = _required(curve)
        return _strictest_best(curve, curve.fbeta())


class BestFBeta(ThresholdOptions):
    """The threshold with the best F-beta; the strictest one of several."""

    beta: Annotated[float, Field(gt=0)] = 0.5
    """Weight of recall, above 0; below 1 when a false match is worse than a miss."""

    def __call__(self, curve: Curve | None) -> float:
        curve = _required(curve)
        return _strictest_best(curve, curve.fbeta(self.beta))


class BestAccuracy(ThresholdOptions):
    """The threshold that classifies the most pairs correctly, as the k-fold protocol of face verification
    requires; the strictest one of several. Where negatives far outnumber positives, use another policy."""

    def __call__(self, curve: Curve | None) -> float:
        curve = _required(curve)
        return _strictest_best(curve, curve.accuracy)


class PrecisionAtLeast(ThresholdOptions):
    """The threshold with the best recall among those with at least a given precision."""

    precision: _Share
    """Least precision, in (0, 1)."""

    @property
    def target(self) -> Target:
        return Target("precision", self.precision)

    def __call__(self, curve: Curve | None) -> float:
        curve = _required(curve)
        threshold = curve.strictest(curve.precision >= self.precision)
        if threshold is None:
            best = curve.precision.max()
            raise ThresholdError(
                f"no threshold reaches precision {self.precision:g} on the calibration split; "
                f"the best is {best:.3f}"
            )
        return threshold


class FprAtMost(ThresholdOptions):
    """The threshold with the best recall among those that accept at most a given share of negative pairs."""

    fpr: _Share
    """Highest false positive rate, in (0, 1)."""

    @property
    def target(self) -> Target:
        return Target("fpr", self.fpr, at_most=True)

    def __call__(self, curve: Curve | None) -> float:
        curve = _required(curve)
        if not curve.resolvable(self.fpr):
            raise ThresholdError(
                f"a false positive rate of {self.fpr:g} needs {1 / self.fpr:,.0f} negative pairs; "
                f"the calibration split has {curve.distinct_negatives:,}"
            )
        threshold = curve.strictest(curve.within(self.fpr))
        if threshold is None:
            raise ThresholdError(
                f"no threshold accepts a positive pair of the calibration split at a false positive rate of "
                f"{self.fpr:g}"
            )
        return threshold


def _at_most_two(value: object) -> object:
    if isinstance(value, int | float) and value > 2:
        raise ValueError(
            "the distance of unit vectors is at most 2, cosine or Euclidean; a cosine distance is half of "
            "the square of a Euclidean one"
        )
    return value


_Distance = Annotated[float, Field(ge=0, le=2), BeforeValidator(_at_most_two)]


class Fixed(ThresholdOptions):
    """A given threshold; nothing is fitted. Needs one of `distance` and `euclidean`.

    Raises OptionError for both and for neither.
    """

    distance: _Distance | None = None
    """Largest cosine distance (1 - cosine) of a match, in [0, 2]."""
    euclidean: _Distance | None = None
    """The same as a Euclidean distance of unit vectors, whose square is twice the cosine distance; in
    [0, 2]."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.distance is None) == (self.euclidean is None):
            raise OptionError(
                "threshold 'fixed' takes one of distance (cosine) and euclidean, as in distance: 0.3",
                "euclidean" if self.distance is not None else "",
            )
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        if self.distance is None or self.distance <= 1:
            return ()
        return (
            f"threshold distance {self.distance:g} looks like a Euclidean distance (a cosine distance above "
            f"1 accepts nearly all pairs); if it is one, write euclidean: {self.distance:g} (cosine distance "
            f"{self.distance**2 / 2:.3g})",
        )

    def __call__(self, curve: Curve | None) -> float:
        if self.distance is not None:
            return 1.0 - self.distance
        assert self.euclidean is not None
        return 1.0 - self.euclidean**2 / 2

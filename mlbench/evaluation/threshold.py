"""The threshold to deploy: what a policy chooses on calibration pairs, how sure it is, what it aims at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mlbench.contracts import Target, ThresholdPolicy
from mlbench.errors import ComponentError, ThresholdError
from mlbench.evaluation.bootstrap import Bootstrap, banded_curve
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.scan import Bands
from mlbench.evaluation.similarity import STEP, on_grid
from mlbench.records.record import EVALUATED, THRESHOLD, Estimate

__all__ = ["Calibration", "Threshold", "fit_threshold", "outcome", "remarks_on", "with_interval"]


class Calibration(NamedTuple):
    """What a threshold was fitted on: classes, and pairs of images, each counted once."""

    classes: int
    positive_pairs: int
    negative_pairs: int

    def __str__(self) -> str:
        return f"{self.positive_pairs:,} positive pairs of {self.classes:,} calibration classes"


@dataclass(frozen=True)
class Threshold:
    """The threshold to deploy.

    similarity: None where the policy found none, and note says why. low, high: interval of the distance, None
    where there is none. target: what the policy aims at. calibration: what it was fitted on, None where that
    is not known. remarks: why not to rely on it, a line each, by the words that stand in a table.
    """

    similarity: float | None
    note: str = ""
    low: float | None = None
    high: float | None = None
    target: Target | None = None
    calibration: Calibration | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A threshold that is not a number would end the process in compiled code that counts by it.
        if self.similarity is not None and not abs(self.similarity) <= 1:
            raise ThresholdError(f"a threshold is a cosine similarity in [-1, 1], not {self.similarity}")

    @property
    def distance(self) -> float | None:
        """As a cosine distance."""
        return None if self.similarity is None else 1.0 - self.similarity

    @property
    def estimate(self) -> Estimate:
        """The distance with its interval, as a metric of a record."""
        return Estimate(self.distance, self.low, self.high, self.note).announced(EVALUATED[THRESHOLD])

    def plain(self) -> dict[str, Any]:
        """What a record keeps: the distance, the note, and what else is known."""
        found: dict[str, Any] = {"distance": self.distance, "note": self.note}
        if self.low is not None:
            found |= {"low": self.low, "high": self.high}
        if self.target is not None:
            found["target"] = asdict(self.target)
        if self.calibration is not None:
            found["calibration"] = self.calibration._asdict()
        if self.remarks:
            found["remarks"] = dict(self.remarks)
        return found


def fit_threshold(policy: ThresholdPolicy, curve: Curve | None) -> Threshold:
    """The threshold that a policy chooses on a calibration curve, or the reason why there is none.

    Raises ComponentError for a policy that gives anything but a cosine similarity.
    """
    target = _target(policy)
    notes = "; ".join(map(str, getattr(policy, "notes", ())))
    remarks = {"see note": notes} if notes else {}
    try:
        similarity = _chosen(policy, curve)
    except ThresholdError as error:
        return Threshold(None, str(error), target=target, remarks=remarks)
    if target is not None and curve is not None and (few := _few_pairs(curve, similarity, target)):
        remarks["few pairs"] = few
    return Threshold(similarity, target=target, remarks=remarks)


def with_interval(
    threshold: Threshold, policy: ThresholdPolicy, bands: Bands, repeated: float, bootstrap: Bootstrap
) -> Threshold:
    """The threshold with its interval: the policy chooses again on each resample of the calibration classes.

    bands: of the calibration pairs. repeated: the share of their negative pairs that stand in both orders, as
    `Curve.repeated` counts them.
    """
    if threshold.distance is None:
        return threshold
    chosen = [
        _again(policy, curve) for curves in bootstrap.curves(bands) for curve in _one_by_one(curves, repeated)
    ]
    found = np.array([distance for distance in chosen if distance is not None])
    if len(found) == 0 or (found == found[0]).all():
        return threshold  # the policy has not fitted anything
    (whole,) = _one_by_one(banded_curve(bands), repeated)
    centre = _again(policy, whole)
    ends = bootstrap.interval(threshold.distance, threshold.distance if centre is None else centre, found)
    assert ends is not None
    remarks = dict(threshold.remarks)
    if (missing := 1 - len(found) / len(chosen)) > 1 - bootstrap.level:
        remarks["often none"] = (
            f"on {missing:.0%} of the resamples of the calibration classes no threshold does what is asked "
            f"(threshold fitted on {threshold.calibration})"
        )
    return replace(threshold, low=max(0.0, ends[0]), high=min(2.0, ends[1]), remarks=remarks)


def outcome(curve: Curve, threshold: Threshold) -> np.ndarray:
    """What tells whether a threshold is good, (...): the quantity that its policy aims at, else F1."""
    assert threshold.similarity is not None
    return _quantity(curve, threshold.similarity, threshold.target)


def remarks_on(threshold: Threshold, curve: Curve, found: Estimate, split: str) -> dict[str, str]:
    """The remarks on a threshold, with those that follow from what it does on other pairs.

    curve: of the other pairs. found: the `outcome` there. split: where they are from, for messages.
    """
    remarks, target, value = dict(threshold.remarks), threshold.target, found.value
    if value is None or threshold.similarity is None:
        return remarks
    name = "F1" if target is None else target.quantity
    fitted = f" (threshold fitted on {threshold.calibration})" if threshold.calibration else ""
    if target is not None and not target.met(value):
        remarks["misses target"] = (
            f"{name} {value:.4g}{_interval(found)} on {split} misses the target {target.value:g}{fitted}"
        )
    if threshold.low is None or threshold.high is None or found.low is None or found.high is None:
        return remarks
    ends = [float(_quantity(curve, 1 - end, target)) for end in (threshold.low, threshold.high)]
    # What the threshold leaves open outweighs what the other pairs leave open.
    if max(abs(end - value) for end in ends) > found.high - found.low:
        low, high = min(value, *ends), max(value, *ends)
        remarks["uncertain"] = (
            f"the threshold {threshold.distance:.4g}{_interval(threshold)} is uncertain: within its interval "
            f"{name} on {split} runs from {low:.3g} to {high:.3g} (its own interval is{_interval(found)}); "
            f"more calibration classes narrow it{fitted}"
        )
    return remarks


def _quantity(curve: Curve, similarity: float, target: Target | None) -> np.ndarray:
    at = curve.at(similarity)
    values: np.ndarray = at.fbeta() if target is None else getattr(at, target.quantity)
    return values[..., 0]


def _chosen(policy: ThresholdPolicy, curve: Curve | None) -> float:
    """What the policy gives, rounded as scores are. Raises ThresholdError where it does, ComponentError for
    what is no similarity."""
    value: Any = policy(curve)
    scalar = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    number = float(value) if scalar or isinstance(value, Real) else np.nan
    if not abs(number) <= 1 + STEP:
        raise ComponentError(
            f"threshold policy {_name(policy)} gave {value!r}; expected a cosine similarity in [-1, 1], or a "
            "ThresholdError that says why there is none"
        )
    return float(np.clip(on_grid(number), -1, 1))


def _again(policy: ThresholdPolicy, curve: Curve) -> float | None:
    """The distance that the policy chooses on a resample, None where it finds none."""
    if not (curve.positives > 0 and curve.negatives > 0):
        return None
    try:
        return 1.0 - _chosen(policy, curve)
    except ThresholdError:
        return None


def _one_by_one(curves: Curve, repeated: float) -> Iterator[Curve]:
    """The curve of each resample."""
    for at in range(len(curves.positives)):
        negatives = curves.negatives[at]
        yield replace(
            curves,
            accepted=curves.accepted[at],
            false=curves.false[at],
            ties=curves.ties[at],
            positives=curves.positives[at],
            negatives=negatives,
            repeated=round(repeated * float(negatives)),
        )


def _few_pairs(curve: Curve, similarity: float, target: Target) -> str:
    """What to say where so few pairs decide that the target leaves no room for a single wrong one."""
    at = curve.at(similarity)
    deciding = {
        "precision": at.accepted[0] + at.false[0],
        "tpr": at.positives,
        "fpr": at.negatives,
        "accuracy": at.positives + at.negatives,
    }[target.quantity]
    pairs = float(deciding) * curve.distinct_negatives / float(curve.negatives)
    share = target.value if target.at_most else 1 - target.value
    if pairs * share >= 1:
        return ""
    return (
        f"{target.quantity} {target.value:g} was fitted on {pairs:,.0f} calibration pairs, too few: one "
        f"wrong pair already misses it; at least {1 / share:,.0f} pairs are needed"
    )


def _target(policy: ThresholdPolicy) -> Target | None:
    target = getattr(policy, "target", None)
    if target is not None and not isinstance(target, Target):
        raise ComponentError(f"threshold policy {_name(policy)}: its target is {target!r}, not a Target")
    return target


def _name(policy: Any) -> str:
    """The policy's class or function, after the package that it is from."""
    kind = policy if hasattr(policy, "__qualname__") else type(policy)
    return f"{kind.__module__}.{kind.__qualname__}"


def _interval(found: Threshold | Estimate) -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:.3g}–{found.high:.3g}]"

"""The threshold to deploy, and remarks on how it does on other pairs than those it was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mlbench.contracts import ACCEPT_NOTHING, Target
from mlbench.errors import ThresholdError
from mlbench.evaluation.curve import Curve
from mlbench.records.record import EVALUATED, THRESHOLD, Estimate

__all__ = ["ACCEPTS_NOTHING", "CalibrationCounts", "Threshold", "remarks_on", "target_value"]


#: Note of a threshold that no pair reaches.
ACCEPTS_NOTHING = "the policy accepts no pair"


class CalibrationCounts(NamedTuple):
    """Numbers of the classes and pairs that a threshold was fitted on; each pair is counted once."""

    classes: int
    positive_pairs: int
    negative_pairs: int

    def __str__(self) -> str:
        return f"{self.positive_pairs:,} positive pairs of {self.classes:,} calibration classes"


@dataclass(frozen=True)
class Threshold:
    """The threshold to deploy.

    similarity: cosine similarity, `ACCEPT_NOTHING` if the policy accepts no pair; None if it found no
    threshold, and note says why. low, high:
    confidence interval of the distance, None for no interval. target: the target of the policy. calibration:
    None if unknown. remarks: reasons not to rely on the threshold, one line each, by a short label for
    tables.
    """

    similarity: float | None
    note: str = ""
    low: float | None = None
    high: float | None = None
    target: Target | None = None
    calibration: CalibrationCounts | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # NaN would crash the process in compiled code.
        if self.similarity is not None and not (abs(self.similarity) <= 1 or self.accepts_nothing):
            raise ThresholdError(f"a threshold is a cosine similarity in [-1, 1], not {self.similarity}")

    @property
    def accepts_nothing(self) -> bool:
        """Whether no pair is accepted."""
        return self.similarity == ACCEPT_NOTHING

    @property
    def scanned(self) -> tuple[float, ...]:
        """The similarities that pairs must be counted at."""
        return () if self.similarity is None or self.accepts_nothing else (self.similarity,)

    @property
    def distance(self) -> float | None:
        """The threshold as a cosine distance; -1, which no pair reaches, if no pair is accepted."""
        return None if self.similarity is None else 1.0 - self.similarity

    @property
    def estimate(self) -> Estimate:
        """The distance with its interval, as a metric of a record."""
        found = Estimate(self.distance, self.low, self.high, self.note)
        if self.accepts_nothing:
            found = Estimate(None, note=ACCEPTS_NOTHING)
        return found.announced(EVALUATED[THRESHOLD])

    def plain(self) -> dict[str, Any]:
        """The threshold as plain data for a record; unknown fields are left out."""
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


def target_value(curve: Curve, similarity: float, target: Target | None) -> np.ndarray:
    """The quantity of the target at a threshold, (...); F1 if there is no target."""
    at = curve.at(similarity)
    values: np.ndarray = at.fbeta() if target is None else getattr(at, target.quantity)
    return values[..., 0]


def remarks_on(threshold: Threshold, curve: Curve, estimate: Estimate, split: str) -> dict[str, str]:
    """The remarks of a threshold, with those that follow from its result on other pairs.

    curve: of the other pairs. estimate: `target_value` on them, with its interval. split: their name, for
    messages.
    """
    remarks, target, value = dict(threshold.remarks), threshold.target, estimate.value
    if value is None or threshold.similarity is None or threshold.accepts_nothing:
        return remarks
    name = "F1" if target is None else target.quantity
    fitted = f" (threshold fitted on {threshold.calibration})" if threshold.calibration else ""
    if target is not None and not target.met(value):
        remarks["misses target"] = (
            f"{name} {value:.4g}{_interval(estimate)} on {split} misses the target {target.value:g}{fitted}"
        )
    if threshold.low is None or threshold.high is None or estimate.low is None or estimate.high is None:
        return remarks
    ends = [float(target_value(curve, 1 - end, target)) for end in (threshold.low, threshold.high)]
    # The uncertainty of the threshold moves the value more than the sampling of the other pairs does.
    if max(abs(end - value) for end in ends) > estimate.high - estimate.low:
        low, high = min(value, *ends), max(value, *ends)
        remarks["uncertain"] = (
            f"the threshold {threshold.distance:.4g}{_interval(threshold)} is uncertain: within its interval "
            f"{name} on {split} runs from {low:.3g} to {high:.3g} (its own interval is"
            f"{_interval(estimate)}); more calibration classes narrow it{fitted}"
        )
    return remarks


def _interval(found: Threshold | Estimate) -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:.3g}–{found.high:.3g}]"

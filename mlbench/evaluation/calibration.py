"""Calibration: a threshold policy chooses the threshold on calibration pairs, with a confidence interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from mlbench.contracts import ACCEPT_NOTHING, Target, ThresholdPolicy
from mlbench.errors import ComponentError, ThresholdError
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.evaluation.threshold import ACCEPTS_NOTHING, CalibrationCounts, Threshold

__all__ = ["calibrate", "fit_threshold"]

#: The distance of `ACCEPT_NOTHING`, below that of any pair.
_NOTHING = 1.0 - ACCEPT_NOTHING


def calibrate(
    policy: ThresholdPolicy, embeddings: Embeddings, engine: Engine, generator: np.random.Generator
) -> Threshold:
    """The threshold that a policy chooses on all pairs of the embeddings, with an interval if the engine
    resamples.

    generator: for the resamples. Raises DataError as `AllPairs.of`, ComponentError as `fit_threshold`.
    """
    pairs = AllPairs.of(embeddings)
    scan = engine.scan(pairs, histograms=True)
    counts = CalibrationCounts(
        len(np.unique(pairs.queries.labels)),
        pairs.positives - pairs.repeated_positives,
        scan.curve.distinct_negatives,
    )
    threshold = replace(fit_threshold(policy, scan.curve), calibration=counts)
    if scan.histograms is None:
        return threshold
    repeated = pairs.repeated_negatives / pairs.negatives
    bootstrap = Bootstrap(len(pairs.classes), engine.resamples, engine.level, generator)
    return _with_interval(threshold, policy, scan.histograms, repeated, bootstrap)


def fit_threshold(policy: ThresholdPolicy, curve: Curve | None) -> Threshold:
    """The threshold that a policy chooses on a calibration curve, or a note why there is none; no interval.

    Raises ComponentError if the policy returns anything but a cosine similarity.
    """
    target = _target(policy)
    notes = "; ".join(map(str, getattr(policy, "notes", ())))
    remarks = {"see note": notes} if notes else {}
    try:
        similarity = _choose(policy, curve)
    except ThresholdError as error:
        return Threshold(None, str(error), target=target, remarks=remarks)
    if similarity == ACCEPT_NOTHING:
        remarks["accepts nothing"] = (
            f"{ACCEPTS_NOTHING}: by its decision on the calibration split no two images are the same"
        )
    elif target is not None and curve is not None and (few := _few_pairs(curve, similarity, target)):
        remarks["few pairs"] = few
    return Threshold(similarity, target=target, remarks=remarks)


def _with_interval(
    threshold: Threshold,
    policy: ThresholdPolicy,
    histograms: ClassHistograms,
    repeated: float,
    bootstrap: Bootstrap,
) -> Threshold:
    """The threshold with an interval: the policy chooses again on each resample of the calibration classes.

    histograms: of the calibration pairs. repeated: share of their negative pairs that occur in both orders
    (see `Curve.repeated`).
    """
    if threshold.distance is None or threshold.accepts_nothing:
        return threshold
    chosen = [
        _choose_distance(policy, curve)
        for curves in bootstrap.curves(histograms)
        for curve in _single_curves(curves, repeated)
    ]
    found = np.array([distance for distance in chosen if distance is not None])
    remarks = {**threshold.remarks, **_often(chosen, 1 - bootstrap.level, threshold)}
    if len(found) == 0 or (found == found[0]).all():
        return replace(threshold, remarks=remarks)  # the policy fits nothing, such as a fixed threshold
    (whole,) = _single_curves(histograms.curve(), repeated)
    centre = _choose_distance(policy, whole)
    if centre is None or centre == _NOTHING:
        centre = threshold.distance
    ends = bootstrap.interval(threshold.distance, centre, found)
    assert ends is not None
    low, high = np.clip(ends, 0.0, 2.0)
    return replace(threshold, low=float(low), high=float(high), remarks=remarks)


def _often(chosen: Sequence[float | None], share: float, threshold: Threshold) -> dict[str, str]:
    """Remarks on what the policy chooses on more than this share of the resamples, beside a threshold.

    chosen: the distance on each resample, as of `_choose_distance`."""
    remarks = {}
    for label, what, each in (
        ("often none", "finds no threshold", None),
        ("often nothing", "accepts no pair", _NOTHING),
    ):
        if chosen and (found := chosen.count(each) / len(chosen)) > share:
            remarks[label] = (
                f"the policy {what} on {found:.0%} of the resamples of the calibration classes "
                f"(threshold fitted on {threshold.calibration})"
            )
    return remarks


def _choose(policy: ThresholdPolicy, curve: Curve | None) -> float:
    """The similarity that the policy returns, rounded as scores are. Raises ThresholdError if the policy
    does, ComponentError if it returns no similarity."""
    value: Any = policy(curve)
    scalar = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    number = float(value) if scalar or isinstance(value, Real) else np.nan
    if number == ACCEPT_NOTHING:
        return ACCEPT_NOTHING
    if not abs(number) <= 1 + STEP:
        raise ComponentError(
            f"threshold policy {_name(policy)} returned {value!r}; expected a cosine similarity in [-1, 1], "
            "ACCEPT_NOTHING, or a ThresholdError that says why there is none"
        )
    return float(np.clip(on_grid(number), -1, 1))


def _choose_distance(policy: ThresholdPolicy, curve: Curve) -> float | None:
    """The distance that the policy chooses on a resample, None if it finds none."""
    if not (curve.positives > 0 and curve.negatives > 0):
        return None
    try:
        return 1.0 - _choose(policy, curve)
    except ThresholdError:
        return None


def _single_curves(curves: Curve, repeated: float) -> Iterator[Curve]:
    """The curve of each resample, without leading axes."""
    for at in range(len(curves.positives)):
        negatives = curves.negatives[at]
        yield replace(
            curves,
            true_positives=curves.true_positives[at],
            false_positives=curves.false_positives[at],
            ties=curves.ties[at],
            positives=curves.positives[at],
            negatives=negatives,
            repeated=round(repeated * float(negatives)),
        )


def _few_pairs(curve: Curve, similarity: float, target: Target) -> str:
    """A remark that a single wrong pair would miss the target, because there are so few pairs; else ""."""
    at = curve.at(similarity)
    deciding = {
        "precision": at.true_positives[0] + at.false_positives[0],
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
    """The module and name of the policy's class or function."""
    kind = policy if hasattr(policy, "__qualname__") else type(policy)
    return f"{kind.__module__}.{kind.__qualname__}"

"""Evaluation of a list of pairs in folds: each fold is scored at a threshold fitted on all other folds.

This is the k-fold protocol of face verification (Labeled Faces in the Wild, UMass TR 07-49).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np

from mlbench.contracts import CurveMetric, EmbeddingMetric, PairList, RankMetric, ThresholdPolicy
from mlbench.errors import ComponentError, DataError
from mlbench.evaluation.calibration import fit_threshold
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings, vector_norms
from mlbench.evaluation.estimates import BuiltMetric, to_estimate
from mlbench.evaluation.repeats import repeated_pairs_note
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import ACCEPTS_NOTHING, Threshold
from mlbench.records.record import EVALUATED, THRESHOLD, Estimate

__all__ = ["PairListEvaluation", "evaluate_pair_list"]

#: Pairs that are scored at a time.
_ROWS = 1 << 14


@dataclass(frozen=True)
class PairListEvaluation:
    """The result of an evaluation in folds.

    metrics: quantities that need no threshold over all pairs, the others as means over folds with an interval
    from the standard error. thresholds: the cosine distance fitted for each fold. facts: plain data for a
    record. notes: for the reader of the metrics, one line each.
    """

    metrics: Mapping[str, Estimate]
    thresholds: Sequence[float | None]
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()


def evaluate_pair_list(
    embeddings: Embeddings,
    pairs: PairList,
    policy: ThresholdPolicy,
    metrics: Sequence[BuiltMetric],
    level: float = 0.95,
) -> PairListEvaluation:
    """Evaluate the curve metrics on the pairs, fold by fold.

    level: of the intervals. Raises DataError for rows that are not images, and if a fold or the rest lacks
    positive or negative pairs.
    """
    _check_pairs(embeddings, pairs)
    scores = _scores(embeddings, pairs)
    names = np.unique(pairs.folds)
    if len(names) < 2:
        raise DataError(
            f"{embeddings.name}: {len(names)} fold; the threshold is fitted on the other folds, so "
            "at least 2 are needed"
        )
    whole = _curve_values(metrics, Curve.of(scores, pairs.same), None)
    fits, by_fold = [], []
    for fold in names:
        held_out = pairs.folds == fold
        for part, what in ((held_out, "holds"), (~held_out, "leaves")):
            if pairs.same[part].all() or not pairs.same[part].any():
                raise DataError(
                    f"{embeddings.name}: fold {fold} {what} pairs of one kind only; positive and negative "
                    "pairs are needed"
                )
        fitted = fit_threshold(policy, Curve.of(scores[~held_out], pairs.same[~held_out]))
        curve = Curve.of(scores[held_out], pairs.same[held_out], thresholds=fitted.scanned)
        by_fold.append(_curve_values(metrics, curve, fitted.similarity))
        fits.append(fitted)
    thresholds = [each.distance for each in fits]
    missing = "no threshold was fitted"
    if any(each.accepts_nothing for each in fits):
        missing = ACCEPTS_NOTHING
    values = [missing if each.estimate.value is None else each.estimate.value for each in fits]
    threshold = _mean_over_folds(THRESHOLD, values, level, missing)
    estimates = {THRESHOLD: threshold.announced(EVALUATED[THRESHOLD])}
    for metric in metrics:
        for name, quantity in metric.quantities.items():
            if name not in whole:  # of the rankings or the embeddings, which have no pairs
                continue
            value, of_folds = whole[name], [each[name] for each in by_fold]
            # A text means that the quantity needs a threshold.
            try:
                estimate = (
                    _mean_over_folds(name, of_folds, level, _reason(value, of_folds, fits))
                    if isinstance(value, str)
                    else to_estimate(name, value)
                )
            except ComponentError as error:
                raise metric.mistake(str(error)) from None
            estimates[name] = estimate.announced(quantity)
    facts = {
        "pairs": len(pairs.same),
        "positive_pairs": int(pairs.same.sum()),
        "folds": len(names),
        "intervals": {"method": "normal, standard error over folds", "level": level},
    }
    note = repeated_pairs_note(pairs)
    return PairListEvaluation(estimates, thresholds, facts, [note] if note else [])


def _check_pairs(embeddings: Embeddings, pairs: PairList) -> None:
    """Raise DataError unless the list has valid arrays and rows of these images."""
    what, count = f"{embeddings.name}: the list of pairs", len(pairs.left)
    for name, values in pairs._asdict().items():
        kind, expected = ("b", "true or false") if name == "same" else ("iu", "whole numbers")
        found = np.asarray(values)
        if found.shape != (count,) or found.dtype.kind not in kind:
            raise DataError(
                f"{what} has {found.dtype} of shape {found.shape} as {name!r}; expected {expected} ({count},)"
            )
    rows = np.concatenate([pairs.left, pairs.right])
    if count and not (rows.min() >= 0 and rows.max() < len(embeddings)):
        raise DataError(
            f"{what} has images {rows.min()} to {rows.max()}; images run from 0 to {len(embeddings) - 1}"
        )


def _scores(embeddings: Embeddings, pairs: PairList) -> np.ndarray:
    """Cosines of the pairs, (P,) float32, rounded to the grid."""
    norms = vector_norms(embeddings)
    vectors = embeddings.vectors
    if not isinstance(vectors, np.ndarray):
        vectors = vectors.cpu().numpy()
    scores = np.empty(len(pairs.left), np.float32)
    for start in range(0, len(scores), _ROWS):
        left, right = pairs.left[start : start + _ROWS], pairs.right[start : start + _ROWS]
        products = np.einsum("nd,nd->n", vectors[left], vectors[right], dtype=np.float64)
        scores[start : start + _ROWS] = products / (norms[left] * norms[right])
    return on_grid(scores)


def _curve_values(metrics: Sequence[BuiltMetric], curve: Curve, threshold: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in metrics:
        if isinstance(each.metric, CurveMetric):
            values = each.metric.of_curve(curve, threshold)
            each.expect_announced(
                values, all_of_them=not isinstance(each.metric, RankMetric | EmbeddingMetric)
            )
            found |= values
    return found


def _reason(without: str, of_folds: Sequence[Any], fits: Sequence[Threshold]) -> str:
    """Why a quantity has no mean over folds: as of a fold where no pair is accepted, else `without`."""
    nothing = (value for value, fit in zip(of_folds, fits, strict=True) if fit.accepts_nothing)
    return next((value for value in nothing if isinstance(value, str)), without)


def _mean_over_folds(name: str, values: Sequence[Any], level: float, without: str) -> Estimate:
    """The mean of a quantity over folds with its interval; none, with the note `without`, if a fold has no
    value."""
    numbers = [
        each.value for each in (to_estimate(name, value) for value in values) if each.value is not None
    ]
    if len(numbers) < len(values):
        return Estimate(None, note=without)
    half = NormalDist().inv_cdf((1 + level) / 2) * stdev(numbers) / len(numbers) ** 0.5
    return Estimate(fmean(numbers), fmean(numbers) - half, fmean(numbers) + half)

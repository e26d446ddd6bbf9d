"""The k-fold protocol of face verification: for pairs chosen by hand, each fold is judged by a threshold
that was fitted on all others (Labeled Faces in the Wild, UMass TR 07-49)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np

from mlbench.contracts import CurveMetric, PairList, Quantity, ThresholdPolicy
from mlbench.errors import DataError
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings, collapse, lengths, mean_similarity
from mlbench.evaluation.evaluate import Engine, Evaluation, Measure, as_estimate, evaluate
from mlbench.evaluation.repeats import repeated_pairs
from mlbench.evaluation.similarity import on_grid
from mlbench.evaluation.threshold import Threshold, fit_threshold
from mlbench.records.record import EVALUATED, PAIR_LIST, THRESHOLD, Estimate

__all__ = ["FoldEvaluation", "SplitEvaluation", "evaluate_folds", "evaluate_split"]

#: Pairs that are scored together.
_ROWS = 1 << 14


@dataclass(frozen=True)
class FoldEvaluation:
    """metrics: those that need no threshold over all pairs; the others as means over folds with an interval
    from their standard error. thresholds: cosine distance that was fitted for each fold. notes: what a reader
    should know, one line each."""

    metrics: Mapping[str, Estimate]
    thresholds: Sequence[float | None]
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class SplitEvaluation:
    """Everything that a record keeps of the measures of a split. evaluation: over all pairs, None where the
    images have no labels."""

    metrics: Mapping[str, Estimate]
    facts: Mapping[str, Any]
    notes: Sequence[str]
    evaluation: Evaluation | None


def evaluate_split(
    embeddings: Embeddings,
    pairs: PairList | None,
    policy: ThresholdPolicy,
    threshold: Threshold,
    measures: Sequence[Measure],
    generator: np.random.Generator,
    engine: Engine,
) -> SplitEvaluation:
    """Evaluate over all pairs and, where the data set comes with a list of pairs, over these by folds too.

    Images of which none may ask or be found have no labels to tell pairs by: all that is measured of them is
    the list. The arguments are those of `evaluate` and `evaluate_folds`, which say what is raised.
    """
    if pairs is None or (embeddings.queries | embeddings.gallery).any():
        evaluation = evaluate(embeddings, threshold, measures, generator, engine)
        metrics, facts, notes = dict(evaluation.metrics), evaluation.plain(), evaluation.notes
    else:
        evaluation = None
        missing = Estimate(None, note="not measured: the test images have no labels")
        metrics = {
            THRESHOLD: threshold.estimate,
            **{name: missing.announced(quantity) for name, quantity in _quantities(measures).items()},
        }
        similarity = mean_similarity(embeddings)
        facts = {"threshold": threshold.plain(), "mean_similarity": similarity}
        notes = [f"test images have no labels: only {PAIR_LIST}... is measured, over the listed pairs"]
        notes += filter(None, [collapse(similarity, embeddings.name)])
    if pairs is not None:
        judged = evaluate_folds(embeddings, pairs, policy, measures, engine.level)
        metrics = {**_over_list(judged.metrics, measures), **metrics}
        facts["pair_list"] = {**judged.facts, "thresholds": judged.thresholds}
        notes = [*notes, *judged.notes]
    return SplitEvaluation(metrics, facts, notes, evaluation)


def evaluate_folds(
    embeddings: Embeddings,
    pairs: PairList,
    policy: ThresholdPolicy,
    measures: Sequence[Measure],
    level: float = 0.95,
) -> FoldEvaluation:
    """Judge the pairs fold by fold. Raises DataError when a fold leaves nothing to fit or to score, or a pair
    is of no image."""
    _check_pairs(embeddings, pairs)
    scores = _scores(embeddings, pairs)
    names = np.unique(pairs.folds)
    if len(names) < 2:
        raise DataError(
            f"{embeddings.name}: {len(names)} fold; the threshold is fitted on the others, so 2 are needed"
        )
    whole = _measured(measures, Curve.of(scores, pairs.same), None)
    thresholds, judged = [], []
    for fold in names:
        held_out = pairs.folds == fold
        for part, what in ((held_out, "holds"), (~held_out, "leaves")):
            if pairs.same[part].all() or not pairs.same[part].any():
                raise DataError(
                    f"{embeddings.name}: fold {fold} {what} pairs of one kind only; both are needed"
                )
        fitted = fit_threshold(policy, Curve.of(scores[~held_out], pairs.same[~held_out]))
        at = () if fitted.similarity is None else (fitted.similarity,)
        curve = Curve.of(scores[held_out], pairs.same[held_out], thresholds=at)
        judged.append(_measured(measures, curve, fitted.similarity))
        thresholds.append(fitted.distance)
    missing = "no threshold was fitted"
    fitted_on_others = [missing if each is None else each for each in thresholds]
    threshold = _over_folds(THRESHOLD, fitted_on_others, level, missing)
    metrics = {THRESHOLD: threshold.announced(EVALUATED[THRESHOLD])}
    for measure in measures:
        if isinstance(measure.metric, CurveMetric):
            for name, quantity in measure.quantities.items():
                found = whole[name]
                estimate = (
                    _over_folds(name, [each[name] for each in judged], level, found)
                    if isinstance(found, str)
                    else as_estimate(name, found)
                )
                metrics[name] = estimate.announced(quantity)
    facts = {
        "pairs": len(pairs.same),
        "positive_pairs": int(pairs.same.sum()),
        "folds": len(names),
        "intervals": {"method": "normal, standard error over folds", "level": level},
    }
    return FoldEvaluation(metrics, thresholds, facts, [note] if (note := repeated_pairs(pairs)) else [])


def _quantities(measures: Sequence[Measure]) -> dict[str, Quantity]:
    return {name: quantity for measure in measures for name, quantity in measure.quantities.items()}


def _over_list(metrics: Mapping[str, Estimate], measures: Sequence[Measure]) -> dict[str, Estimate]:
    """Metrics over a list of pairs by their names in a record, with headings for such a list."""
    quantities = {**EVALUATED, **_quantities(measures)}
    found = {}
    for name, each in metrics.items():
        quantity = quantities[name]
        if quantity.pair_list_headline:
            quantity = replace(quantity, heading=f"{quantity.heading or name} (pair list)", headline=True)
        else:
            quantity = replace(quantity, heading="", headline=False, tolerance=None)
        found[f"{PAIR_LIST}{name}"] = each.announced(quantity)
    return found


def _check_pairs(embeddings: Embeddings, pairs: PairList) -> None:
    """Raise DataError for a list that is not one of pairs of these images."""
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
    """Cosines of the pairs, (P,) float32, on the grid of thresholds."""
    norms = lengths(embeddings)
    vectors = embeddings.vectors
    if not isinstance(vectors, np.ndarray):
        vectors = vectors.cpu().numpy()
    scores = np.empty(len(pairs.left), np.float32)
    for start in range(0, len(scores), _ROWS):
        left, right = pairs.left[start : start + _ROWS], pairs.right[start : start + _ROWS]
        products = np.einsum("nd,nd->n", vectors[left], vectors[right], dtype=np.float64)
        scores[start : start + _ROWS] = products / (norms[left] * norms[right])
    return on_grid(scores)


def _measured(measures: Sequence[Measure], curve: Curve, threshold: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for measure in measures:
        if isinstance(measure.metric, CurveMetric):
            found |= measure.metric.of_curve(curve, threshold)
    return found


def _over_folds(name: str, values: Sequence[Any], level: float, without: str) -> Estimate:
    numbers = [
        each.value for each in (as_estimate(name, value) for value in values) if each.value is not None
    ]
    if len(numbers) < len(values):
        return Estimate(None, note=without)
    half = NormalDist().inv_cdf((1 + level) / 2) * stdev(numbers) / len(numbers) ** 0.5
    return Estimate(fmean(numbers), fmean(numbers) - half, fmean(numbers) + half)

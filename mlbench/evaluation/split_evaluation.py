"""Evaluation of a split: over all its pairs and, if the data set has one, over its list of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.contracts import PairList, Quantity, ThresholdPolicy
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation, evaluate_all_pairs
from mlbench.evaluation.embeddings import Embeddings, collapse_note, mean_similarity
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import EVALUATED, PAIR_LIST, THRESHOLD, Estimate

__all__ = ["SplitEvaluation", "evaluate_split"]


@dataclass(frozen=True)
class SplitEvaluation:
    """Metrics, facts and notes of a split, as a record stores them. evaluation: over all pairs, None if the
    images have no labels."""

    metrics: Mapping[str, Estimate]
    facts: Mapping[str, Any]
    notes: Sequence[str]
    evaluation: AllPairsEvaluation | None


def evaluate_split(
    embeddings: Embeddings,
    pairs: PairList | None,
    policy: ThresholdPolicy,
    threshold: Threshold,
    metrics: Sequence[BuiltMetric],
    generator: np.random.Generator,
    engine: Engine,
    details: np.random.Generator | None = None,
) -> SplitEvaluation:
    """Evaluate over all pairs and, if the data set has a list of pairs, over these in folds too.

    Images without any role have no labels; if all images are such, only the list is evaluated. Arguments and
    errors are those of `evaluate_all_pairs` and `evaluate_pair_list`.
    """
    if pairs is None or (embeddings.queries | embeddings.gallery).any():
        evaluation = evaluate_all_pairs(embeddings, threshold, metrics, generator, engine, details)
        estimates, facts, notes = dict(evaluation.metrics), evaluation.plain(), evaluation.notes
    else:
        evaluation = None
        missing = Estimate(None, note="not measured: the test images have no labels")
        estimates = {
            THRESHOLD: threshold.estimate,
            **{name: missing.announced(quantity) for name, quantity in _quantities(metrics).items()},
        }
        similarity = mean_similarity(embeddings)
        facts = {"threshold": threshold.plain(), "mean_similarity": similarity}
        notes = [f"test images have no labels: only {PAIR_LIST}... is measured, over the listed pairs"]
        notes += filter(None, [collapse_note(similarity, embeddings.name)])
    if pairs is not None:
        listed = evaluate_pair_list(embeddings, pairs, policy, metrics, engine.level)
        estimates = {**_over_list(listed.metrics, metrics), **estimates}
        facts["pair_list"] = {**listed.facts, "thresholds": listed.thresholds}
        notes = [*notes, *listed.notes]
    return SplitEvaluation(estimates, facts, notes, evaluation)


def _quantities(metrics: Sequence[BuiltMetric]) -> dict[str, Quantity]:
    return {name: quantity for each in metrics for name, quantity in each.quantities.items()}


def _over_list(estimates: Mapping[str, Estimate], metrics: Sequence[BuiltMetric]) -> dict[str, Estimate]:
    """Metrics over a list of pairs by their names in a record, with headings for such a list."""
    quantities = {**EVALUATED, **_quantities(metrics)}
    found = {}
    for name, each in estimates.items():
        quantity = quantities[name]
        if quantity.pair_list_headline:
            quantity = replace(quantity, heading=f"{quantity.heading or name} (pair list)", headline=True)
        else:
            quantity = replace(quantity, heading="", headline=False, tolerance=None)
        found[f"{PAIR_LIST}{name}"] = each.announced(quantity)
    return found

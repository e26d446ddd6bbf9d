from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_lists import REGISTRY, built, random_pairs, verification

from mlbench.contracts import PairList
from mlbench.errors import DataError
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.evaluation.split_evaluation import SplitEvaluation, evaluate_split
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import Estimate


def evaluated(embeddings: Embeddings, pairs: PairList | None) -> SplitEvaluation:
    retrieval = REGISTRY.get("metric", "retrieval").make({})
    metrics = [*verification(), BuiltMetric(retrieval.build(), retrieval.quantities())]
    return evaluate_split(
        embeddings,
        pairs,
        built("threshold", "best_accuracy"),
        Threshold(0.5),
        metrics,
        np.random.default_rng(0),
        Engine(resamples=20),
    )


def bare(found: Estimate) -> Estimate:
    """The estimate without its heading, which differs for a list of pairs."""
    return replace(found, heading="", headline=False)


def test_a_list_of_pairs_adds_metrics_with_a_prefix() -> None:
    embeddings, pairs = random_pairs(1, 300, 10)
    embeddings = replace(embeddings, labels=np.arange(60) // 5)
    both, alone = evaluated(embeddings, pairs), evaluated(embeddings, None)
    listed = evaluate_pair_list(embeddings, pairs, built("threshold", "best_accuracy"), verification())
    assert {name: found for name, found in both.metrics.items() if not name.startswith("pair_list_")} == (
        alone.metrics
    )
    assert {
        name.removeprefix("pair_list_"): bare(found)
        for name, found in both.metrics.items()
        if name.startswith("pair_list_")
    } == {name: bare(found) for name, found in listed.metrics.items()}
    columns = {name: (each.heading, each.headline) for name, each in both.metrics.items() if each.heading}
    assert next(iter(columns.items())) == ("pair_list_accuracy", ("accuracy (pair list)", True))
    assert [name for name in columns if name.startswith("pair_list_")] == ["pair_list_accuracy"]
    accuracy = both.metrics["pair_list_accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert accuracy.value != both.metrics["accuracy"].value
    assert both.facts == {**alone.facts, "pair_list": {**listed.facts, "thresholds": listed.thresholds}}
    assert (both.notes, both.evaluation.notes) == ([*alone.notes, *listed.notes], alone.notes)
    assert listed.notes[0].startswith("64 of 300 pairs repeat another pair of the list")


def test_images_without_labels_are_evaluated_on_the_list_only() -> None:
    embeddings, pairs = random_pairs(1, 300, 10)
    nobody = np.zeros(60, bool)
    found = evaluated(replace(embeddings, queries=nobody, gallery=nobody), pairs)
    labelled = evaluated(replace(embeddings, labels=np.arange(60) // 5), pairs)
    assert list(found.metrics) == list(labelled.metrics)
    for name, estimate in found.metrics.items():
        if name.startswith("pair_list_"):
            assert estimate == labelled.metrics[name]
        elif name == "threshold":
            assert estimate.value == Threshold(0.5).distance
        else:
            assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
            assert estimate.note == "not measured: the test images have no labels"
            assert estimate.unit == labelled.metrics[name].unit
    assert found.evaluation is None
    assert found.facts.keys() == {"threshold", "mean_similarity", "pair_list"}
    assert found.notes[0] == (
        "test images have no labels: only pair_list_... is measured, over the listed pairs"
    )


def test_images_without_labels_or_a_list_are_an_error() -> None:
    embeddings, _ = random_pairs(1, 300, 10)
    nobody = np.zeros(60, bool)
    with pytest.raises(DataError):
        evaluated(replace(embeddings, queries=nobody, gallery=nobody), None)

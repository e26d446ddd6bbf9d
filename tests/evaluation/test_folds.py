from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlbench.contracts import PairList
from mlbench.errors import DataError
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.evaluate import Engine, Measure
from mlbench.evaluation.folds import SplitEvaluation, evaluate_folds, evaluate_split
from mlbench.evaluation.similarity import STEP
from mlbench.evaluation.threshold import Threshold
from mlbench.plugins import load_plugins
from mlbench.records.record import Estimate
from mlbench.registry import Registry

REGISTRY = Registry(load_plugins())


def built(kind: str, name: str, **options: object) -> object:
    return REGISTRY.get(kind, name).make(options).build()


def verification() -> list[Measure]:
    return [measure("verification", fpr=[0.1, 1e-4])]


def measure(name: str, **options: object) -> Measure:
    made = REGISTRY.get("metric", name).make(options)
    return Measure(made.build(), made.quantities())


def at_angles(*degrees: float) -> Embeddings:
    radians = np.deg2rad(degrees)
    return Embeddings.of(np.stack([np.cos(radians), np.sin(radians)], 1), np.arange(len(degrees)))


def random_pairs(seed: int, count: int, folds: int) -> tuple[Embeddings, PairList]:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((60, 4)) + 2 * rng.standard_normal((12, 4)).repeat(5, 0)
    left = rng.integers(0, 60, count)
    same = rng.random(count) < 0.5
    right = np.where(same, left // 5 * 5 + rng.integers(0, 5, count), rng.integers(0, 60, count))
    same = left // 5 == right // 5
    return Embeddings.of(vectors, np.arange(60)), PairList(
        left, right, same, np.arange(count) * folds // count
    )


@pytest.mark.parametrize("seed", range(5))
def test_folds_equal_the_protocol_written_out(seed: int) -> None:
    embeddings, pairs = random_pairs(seed, 300, 10)
    result = evaluate_folds(embeddings, pairs, built("threshold", "best_accuracy"), verification())
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    scores = (unit[pairs.left] * unit[pairs.right]).sum(1).astype(np.float32)
    accuracies = []
    for fold in range(10):
        inside = pairs.folds == fold
        known, truth = scores[~inside], pairs.same[~inside]
        candidates = np.unique(known[truth])[::-1]
        best = max(candidates, key=lambda t: ((known >= t) == truth).mean())
        accuracies.append(((scores[inside] >= best) == pairs.same[inside]).mean())
    assert result.metrics["accuracy"].value == pytest.approx(np.mean(accuracies), abs=1e-12)
    half = 1.959964 * np.std(accuracies, ddof=1) / np.sqrt(10)
    assert result.metrics["accuracy"].high - result.metrics["accuracy"].value == pytest.approx(half, rel=1e-5)
    assert len(result.thresholds) == result.facts["folds"] == 10


def test_what_needs_no_threshold_is_measured_over_all_pairs() -> None:
    from sklearn.metrics import roc_auc_score

    embeddings, pairs = random_pairs(9, 400, 4)
    result = evaluate_folds(embeddings, pairs, built("threshold", "best_f1"), verification())
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    scores = (unit[pairs.left] * unit[pairs.right]).sum(1).astype(np.float32)
    assert result.metrics["auroc"].value == pytest.approx(roc_auc_score(pairs.same, scores), abs=1e-12)
    assert result.metrics["auroc"].low is None
    assert result.metrics["tpr_at_fpr_1e-1"].value is not None
    assert "not resolvable" in result.metrics["tpr_at_fpr_1e-4"].note


def test_a_threshold_is_never_fitted_on_its_own_fold() -> None:
    # Fold 0 alone would choose 10 degrees; the other asks for 60.
    embeddings = at_angles(0, 10, 50, 60, 90)
    pairs = PairList(
        np.array([0, 0, 0, 0]),
        np.array([1, 2, 3, 4]),
        np.array([True, False, True, False]),
        np.array([0, 0, 1, 1]),
    )
    result = evaluate_folds(embeddings, pairs, built("threshold", "best_accuracy"), verification())
    assert result.thresholds[0] == pytest.approx(1 - np.cos(np.deg2rad(60)), abs=STEP)
    assert result.thresholds[1] == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=STEP)
    assert result.metrics["recall"].value == 0.5


@pytest.mark.parametrize(
    ("same", "folds", "message"),
    [
        ([1, 0, 1, 0], [0, 0, 0, 0], "1 fold; the threshold is fitted on the others"),
        ([1, 1, 1, 0], [0, 0, 1, 1], "fold 0 holds pairs of one kind only"),
        ([1, 0, 1, 1], [0, 0, 1, 1], "fold 0 leaves pairs of one kind only"),
    ],
)
def test_folds_that_cannot_be_judged_are_named(same: list[int], folds: list[int], message: str) -> None:
    pairs = PairList(np.array([0, 0, 0, 0]), np.array([1, 2, 3, 4]), np.array(same, bool), np.array(folds))
    with pytest.raises(DataError, match=message):
        evaluate_folds(
            at_angles(0, 10, 50, 60, 90), pairs, built("threshold", "best_accuracy"), verification()
        )


def evaluated(embeddings: Embeddings, pairs: PairList | None) -> SplitEvaluation:
    measures = [
        *verification(),
        measure("retrieval"),
    ]
    return evaluate_split(
        embeddings,
        pairs,
        built("threshold", "best_accuracy"),
        Threshold(0.5),
        measures,
        np.random.default_rng(0),
        Engine(resamples=20),
    )


def bare(found: Estimate) -> Estimate:
    """Without its heading, which is another one for a list of pairs."""
    return replace(found, heading="", headline=False)


def test_a_list_of_pairs_is_judged_beside_all_pairs_and_under_its_own_names() -> None:
    embeddings, pairs = random_pairs(1, 300, 10)
    embeddings = replace(embeddings, labels=np.arange(60) // 5)
    both, alone = evaluated(embeddings, pairs), evaluated(embeddings, None)
    listed = evaluate_folds(embeddings, pairs, built("threshold", "best_accuracy"), verification())
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
    assert listed.notes[0].startswith("64 of 300 pairs repeat another one of the list")


def test_images_without_labels_are_measured_by_their_pairs_alone() -> None:
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


def test_images_without_labels_and_pairs_are_an_error() -> None:
    embeddings, _ = random_pairs(1, 300, 10)
    nobody = np.zeros(60, bool)
    with pytest.raises(DataError):
        evaluated(replace(embeddings, queries=nobody, gallery=nobody), None)


def test_folds_take_embeddings_where_they_are() -> None:
    import torch

    embeddings, pairs = random_pairs(3, 300, 10)
    policy = built("threshold", "best_accuracy")
    moved = replace(embeddings, vectors=torch.from_numpy(embeddings.vectors))
    assert evaluate_folds(moved, pairs, policy, verification()) == evaluate_folds(
        embeddings, pairs, policy, verification()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": np.array([0, 5, 0, 1])}, "images 0 to 5; images run from 0 to 4"),
        ({"right": np.array([1, -1, 2, 3])}, "images -1 to 3; images run from 0 to 4"),
        ({"right": np.array([1, 2, 3])}, r"int64 of shape \(3,\) as 'right'; expected whole numbers \(4,\)"),
        ({"left": np.array([0, 0, 0, np.nan])}, r"float64 of shape \(4,\) as 'left'"),
        ({"same": np.array([1, 0, 1, 0])}, r"int64 of shape \(4,\) as 'same'; expected true or false"),
    ],
)
def test_a_list_that_is_not_one_of_pairs_of_the_images_is_refused(change, message: str) -> None:
    pairs = PairList(
        np.array([0, 0, 0, 1]),
        np.array([1, 2, 3, 4]),
        np.array([True, False, True, False]),
        np.array([0, 0, 1, 1]),
    )
    with pytest.raises(DataError, match=rf"the list of pairs has {message}"):
        evaluate_folds(
            at_angles(0, 10, 50, 60, 90),
            pairs._replace(**change),
            built("threshold", "best_f1"),
            verification(),
        )

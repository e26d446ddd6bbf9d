from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_lists import built, random_pairs, verification

from mlbench.contracts import PairList
from mlbench.errors import DataError
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.evaluation.similarity_grid import STEP


def at_angles(*degrees: float) -> Embeddings:
    radians = np.deg2rad(degrees)
    return Embeddings.of(np.stack([np.cos(radians), np.sin(radians)], 1), np.arange(len(degrees)))


@pytest.mark.parametrize("seed", range(5))
def test_folds_equal_a_naive_protocol(seed: int) -> None:
    embeddings, pairs = random_pairs(seed, 300, 10)
    result = evaluate_pair_list(embeddings, pairs, built("threshold", "best_accuracy"), verification())
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


def test_metrics_without_a_threshold_are_over_the_whole_list() -> None:
    from sklearn.metrics import roc_auc_score

    embeddings, pairs = random_pairs(9, 400, 4)
    result = evaluate_pair_list(embeddings, pairs, built("threshold", "best_f1"), verification())
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    scores = (unit[pairs.left] * unit[pairs.right]).sum(1).astype(np.float32)
    assert result.metrics["auroc"].value == pytest.approx(roc_auc_score(pairs.same, scores), abs=1e-12)
    assert result.metrics["auroc"].low is None
    assert result.metrics["tpr_at_fpr_1e-1"].value is not None
    assert "not resolvable" in result.metrics["tpr_at_fpr_1e-4"].note


def test_a_threshold_is_never_fitted_on_its_own_fold() -> None:
    # Fold 0 alone would give 10 degrees; fold 1 gives 60.
    embeddings = at_angles(0, 10, 50, 60, 90)
    pairs = PairList(
        np.array([0, 0, 0, 0]),
        np.array([1, 2, 3, 4]),
        np.array([True, False, True, False]),
        np.array([0, 0, 1, 1]),
    )
    result = evaluate_pair_list(embeddings, pairs, built("threshold", "best_accuracy"), verification())
    assert result.thresholds[0] == pytest.approx(1 - np.cos(np.deg2rad(60)), abs=STEP)
    assert result.thresholds[1] == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=STEP)
    assert result.metrics["recall"].value == 0.5


@pytest.mark.parametrize(
    ("same", "folds", "message"),
    [
        ([1, 0, 1, 0], [0, 0, 0, 0], "1 fold; the threshold is fitted on the other folds"),
        ([1, 1, 1, 0], [0, 0, 1, 1], "fold 0 holds pairs of one kind only"),
        ([1, 0, 1, 1], [0, 0, 1, 1], "fold 0 leaves pairs of one kind only"),
    ],
)
def test_folds_that_cannot_be_evaluated_are_an_error_that_names_them(
    same: list[int], folds: list[int], message: str
) -> None:
    pairs = PairList(np.array([0, 0, 0, 0]), np.array([1, 2, 3, 4]), np.array(same, bool), np.array(folds))
    with pytest.raises(DataError, match=message):
        evaluate_pair_list(
            at_angles(0, 10, 50, 60, 90), pairs, built("threshold", "best_accuracy"), verification()
        )


def test_folds_accept_tensors() -> None:
    import torch

    embeddings, pairs = random_pairs(3, 300, 10)
    policy = built("threshold", "best_accuracy")
    moved = replace(embeddings, vectors=torch.from_numpy(embeddings.vectors))
    assert evaluate_pair_list(moved, pairs, policy, verification()) == evaluate_pair_list(
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
def test_an_invalid_list_of_pairs_is_refused(change, message: str) -> None:
    pairs = PairList(
        np.array([0, 0, 0, 1]),
        np.array([1, 2, 3, 4]),
        np.array([True, False, True, False]),
        np.array([0, 0, 1, 1]),
    )
    with pytest.raises(DataError, match=rf"the list of pairs has {message}"):
        evaluate_pair_list(
            at_angles(0, 10, 50, 60, 90),
            pairs._replace(**change),
            built("threshold", "best_f1"),
            verification(),
        )

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve
from torch.nn.functional import normalize

from mlbench import evaluate
from mlbench.embed import Embeddings
from mlbench.errors import DataError
from mlbench.record import METRICS


def make(vectors, labels, queries=None, gallery=None) -> Embeddings:
    count = len(labels)
    return Embeddings(
        normalize(torch.as_tensor(np.asarray(vectors), dtype=torch.float32)),
        torch.as_tensor(labels),
        torch.ones(count, dtype=torch.bool) if queries is None else torch.as_tensor(queries),
        torch.ones(count, dtype=torch.bool) if gallery is None else torch.as_tensor(gallery),
    )


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


def naive_pairs(embeddings: Embeddings) -> tuple[list[float], list[bool]]:
    """Similarity and truth of every ordered pair, one by one."""
    similarity = (embeddings.vectors @ embeddings.vectors.T).numpy()
    scores, truth = [], []
    for i, j in itertools.product(range(len(similarity)), repeat=2):
        if i != j and embeddings.queries[i] and embeddings.gallery[j]:
            scores.append(float(similarity[i, j]))
            truth.append(bool(embeddings.labels[i] == embeddings.labels[j]))
    return scores, truth


def naive_recall(embeddings: Embeddings) -> float:
    similarity = (embeddings.vectors @ embeddings.vectors.T).numpy()
    hits, asked = 0, 0
    for i in range(len(similarity)):
        others = [j for j in range(len(similarity)) if j != i and embeddings.gallery[j]]
        same = [similarity[i, j] for j in others if embeddings.labels[i] == embeddings.labels[j]]
        different = [similarity[i, j] for j in others if embeddings.labels[i] != embeddings.labels[j]]
        if embeddings.queries[i] and same:
            asked += 1
            hits += max(same) > max(different, default=-np.inf)
    return hits / asked if asked else 0.0


@st.composite
def embeddings(draw: st.DrawFn) -> Embeddings:
    """Few distinct directions, so that ties and duplicates are common; one-image classes; roles."""
    count = draw(st.integers(2, 14))
    directions = st.sampled_from([(1, 0), (0, 1), (1, 1), (-1, 2), (3, -1), (-1, -1)])
    vectors = draw(st.lists(directions, min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    if draw(st.booleans()):
        return make(vectors, labels)
    roles = draw(st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1)]), min_size=count, max_size=count))
    queries, gallery = (np.array(column, bool) for column in zip(*roles, strict=True))
    return make(vectors, labels, queries, gallery)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(embeddings())
def test_best_f1_is_the_best_over_every_threshold(sample: Embeddings) -> None:
    scores, truth = naive_pairs(sample)
    if not any(truth):
        with pytest.raises(DataError, match="no class has two images"):
            evaluate.best_f1(sample)
        return
    naive = []
    for threshold in set(scores):
        true = sum(s >= threshold and t for s, t in zip(scores, truth, strict=True))
        false = sum(s >= threshold and not t for s, t in zip(scores, truth, strict=True))
        naive.append(2 * true / (true + false + sum(truth)))
    best = evaluate.best_f1(sample)
    assert best.f1 == pytest.approx(max(naive), abs=1e-12)
    assert evaluate.score_at(sample, best.similarity) == best


@settings(max_examples=100, deadline=None, derandomize=True)
@given(embeddings())
def test_recall_at_1_is_what_counting_one_by_one_gives(sample: Embeddings) -> None:
    assert evaluate.recall_at_1(sample) == pytest.approx(naive_recall(sample), abs=1e-12)


def test_best_f1_equals_scikit_learn_on_continuous_scores() -> None:
    generator = np.random.default_rng(3)
    sample = make(generator.normal(size=(80, 5)), np.repeat(np.arange(20), 4))
    scores, truth = naive_pairs(sample)
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = evaluate.best_f1(sample)
    assert best.f1 == pytest.approx(f1.max(), abs=1e-9)
    assert best.precision == pytest.approx(precision[f1.argmax()], abs=1e-9)
    assert best.recall == pytest.approx(recall[f1.argmax()], abs=1e-9)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    sample = make(generator.normal(size=(50, 4)), np.repeat(np.arange(10), 5))
    whole = evaluate.best_f1(sample), evaluate.recall_at_1(sample)
    monkeypatch.setattr(evaluate, "_BLOCK", 50 * 7)
    assert evaluate.best_f1(sample) == whole[0]
    assert evaluate.recall_at_1(sample) == whole[1]


def test_evaluate_scores_test_at_the_threshold_of_calibration() -> None:
    # Calibration: positives at 10 degrees, the nearest negative at 40. Test: positives at 20 degrees
    # (missed by a threshold of 10), negatives far away.
    calibration = make(angles(0, 10, 50, 60), [0, 0, 1, 1])
    test = make(angles(0, 20, 90, 110), [0, 0, 1, 1])
    metrics = evaluate.evaluate(calibration, test)
    assert set(metrics) == set(METRICS)
    assert metrics["f1_threshold"] == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=1e-6)
    assert metrics["f1"] == 0
    assert metrics["f1_optimistic"] == 1
    assert metrics["f1_optimistic_threshold"] == pytest.approx(1 - np.cos(np.deg2rad(20)), abs=1e-6)
    assert metrics["recall_at_1"] == 1


def test_recall_counts_a_tie_as_a_miss() -> None:
    assert evaluate.recall_at_1(make(angles(0, 0, 0), [0, 0, 1])) == 0


def test_best_f1_refuses_embeddings_that_are_not_finite() -> None:
    sample = make(angles(0, 1), [0, 0])
    sample.vectors[0, 0] = float("nan")
    with pytest.raises(DataError, match="test: embeddings are not finite"):
        evaluate.best_f1(sample, "test")


@pytest.mark.parametrize(
    ("true", "false", "precision", "recall", "f1"),
    [
        (1678, 2244, 0.4278, 0.7491, 0.5446),
        (1746, 604, 0.7430, 0.7795, 0.7608),
        (1118, 1846, 0.3772, 0.4991, 0.4297),
        (2084, 606, 0.7747, 0.9304, 0.8454),
        (1844, 340, 0.8443, 0.8232, 0.8336),
    ],
)
def test_operating_point_reproduces_the_published_label_image_table(
    true: int, false: int, precision: float, recall: float, f1: float
) -> None:
    point = evaluate.Operating(0.9, true, false, 2240)
    assert (round(point.precision, 4), round(point.recall, 4), round(point.f1, 4)) == (precision, recall, f1)

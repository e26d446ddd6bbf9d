from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mlbench.evaluation.curve import Curve

BETAS = (0.5, 1.0, 2.0)

#: Published for label images: threshold as a distance, TP, FP, precision, recall, F1. Of 560 photos of 112
#: labels there are 560 x 4 = 2240 ordered positive pairs and 560 x 555 = 310,800 negative ones.
LABEL_IMAGES = [
    (0.10, 1678, 2244, 0.4278, 0.7491, 0.5446),
    (0.13, 1746, 604, 0.7430, 0.7795, 0.7608),
    (0.11, 1118, 1846, 0.3772, 0.4991, 0.4297),
    (0.15, 2084, 606, 0.7747, 0.9304, 0.8454),
    (0.11, 1844, 340, 0.8443, 0.8232, 0.8336),
]


def scored_pairs(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties or none, and whether pairs are positive; at least one of each kind."""
    count = int(generator.integers(2, 60))
    levels = generator.choice([1, 2, 5, 20, 10**6])
    scores = (generator.integers(-levels, levels + 1, size=count) / levels).astype(np.float32)
    same = generator.random(count) < generator.choice([0.1, 0.5, 0.9])
    scores = np.where(same, np.minimum(scores + generator.choice([0, 0.25]), 1), scores).astype(np.float32)
    same[:2] = True, False
    return scores, same


def naive_eer(scores: np.ndarray, same: np.ndarray) -> float:
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    return float(brentq(lambda x: x - (1 - np.interp(x, fpr, tpr)), 0, 1, xtol=1e-14))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_curve_equals_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(20):
        scores, same = scored_pairs(generator)
        curve = Curve.of(scores, same)
        assert curve.auroc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
        assert curve.average_precision == pytest.approx(average_precision_score(same, scores), abs=1e-12)
        fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
        at = np.isin(thresholds, curve.similarities)
        assert thresholds[at].tolist() == curve.similarities.tolist()
        assert curve.fpr == pytest.approx(fpr[at], abs=1e-12)
        assert curve.tpr == pytest.approx(tpr[at], abs=1e-12)
        precision, recall, thresholds = precision_recall_curve(same, scores)
        at = np.isin(thresholds, curve.similarities)
        assert curve.precision == pytest.approx(precision[:-1][at][::-1], abs=1e-12)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        assert curve.fbeta().max() == pytest.approx(f1.max(), abs=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_curve_equals_counting_at_every_threshold(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(20):
        scores, same = scored_pairs(generator)
        curve = Curve.of(scores, same)
        positives, negatives = int(same.sum()), int((~same).sum())
        points = oracle.operating_points(scores, same)
        for beta in BETAS:
            naive = max(oracle.fbeta(true, false, positives, beta) for _, true, false in points)
            assert curve.fbeta(beta).max() == pytest.approx(naive, abs=1e-12)
        for threshold, true, false in points:
            if threshold in curve.similarities:
                at = curve.at(threshold)
                assert (at.true_positives[0], at.false_positives[0]) == (true, false)
                naive = (true + negatives - false) / (positives + negatives)
                assert at.accuracy[0] == pytest.approx(naive, abs=1e-12)
                assert at.fbeta(2)[0] == pytest.approx(oracle.fbeta(true, false, positives, 2), abs=1e-12)
        # Includes the threshold that accepts nothing; no share is a whole number of negatives.
        for rate in (Fraction(1, 10), Fraction(1, 3), Fraction(29, 100), Fraction(int(points[0][2]) + 1, 60)):
            within = [true for _, true, false in points if false <= rate * negatives]
            assert curve.tpr_at_fpr(float(rate)) == pytest.approx(max(within, default=0) / positives)
            strictest = next((each for each, true, _ in points if within and true == within[-1] > 0), None)
            assert curve.strictest(curve.within(float(rate))) == strictest


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_eer_is_where_the_roc_crosses_the_diagonal(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(20):
        scores, same = scored_pairs(generator)
        assert Curve.of(scores, same).eer == pytest.approx(naive_eer(scores, same), abs=1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_strictest_is_the_first_allowed_threshold_with_the_highest_recall(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, same = scored_pairs(generator)
    curve = Curve.of(scores, same, thresholds=(-0.9, 0.05, 0.95))
    for reached in (curve.precision >= 0.5, curve.false_positives <= 2, curve.false_positives < 0):
        marked = np.flatnonzero(reached)
        recall = max(curve.tpr[marked], default=0)
        naive = min((at for at in marked if curve.tpr[at] == recall > 0), default=None)
        expected = None if naive is None else curve.similarities[naive]
        assert curve.strictest(reached) == expected


def test_a_tie_of_a_positive_with_a_negative_counts_half() -> None:
    scores = np.array([0.5, 0.5, 0.9, 0.1], np.float32)
    assert Curve.of(scores, np.array([True, False, False, False])).auroc == pytest.approx((0.5 + 0 + 1) / 3)


def test_collapsed_embeddings_have_auroc_and_eer_of_one_half() -> None:
    curve = Curve.of(np.ones(30, np.float32), np.arange(30) < 10)
    assert (curve.auroc, curve.eer) == (0.5, 0.5)
    assert curve.average_precision == pytest.approx(1 / 3)
    assert curve.tpr_at_fpr(0.9) == 0


def test_a_threshold_is_inclusive() -> None:
    curve = Curve.of(np.array([0.5, 0.5], np.float32), np.array([True, False]))
    assert (curve.at(0.5).true_positives[0], curve.at(0.5).false_positives[0]) == (1, 1)


def test_at_is_linear_between_thresholds_and_ends_with_all_pairs() -> None:
    curve = Curve(
        np.array([0.8, 0.4]),
        np.array([2, 6]),
        np.array([0, 8]),
        np.zeros(2, int),
        np.array(10),
        np.array(100),
    )
    assert (curve.at(0.6).true_positives[0], curve.at(0.6).false_positives[0]) == pytest.approx((4, 4))
    assert curve.at(0.9).true_positives[0] == pytest.approx(1, abs=1e-4)
    assert (curve.at(1.5).true_positives[0], curve.at(1.5).false_positives[0]) == pytest.approx(
        (0, 0), abs=1e-4
    )
    assert (curve.at(-1).true_positives[0], curve.at(-1).false_positives[0]) == pytest.approx(
        (10, 100), abs=1e-3
    )
    assert (curve.at(-2).true_positives[0], curve.at(-2).false_positives[0]) == pytest.approx(
        (10, 100), abs=1e-3
    )


def test_at_accepts_scores_slightly_above_one() -> None:
    curve = Curve.of(np.array([1.004, 1.002, 0.5], np.float32), np.array([True, True, False]))
    for similarity, accepted in zip(curve.similarities, (1, 2), strict=True):
        assert curve.at(similarity).true_positives[0] == accepted


def test_leading_axes_are_independent_curves() -> None:
    generator = np.random.default_rng(0)
    edges = np.linspace(1, -1, 40)
    scores, same = generator.normal(size=500).clip(-1, 1).astype(np.float32), generator.random((3, 500)) < 0.3
    accepted, false = ((members[:, None] & (scores >= edges[:, None])).sum(-1) for members in (same, ~same))
    ties = (~same[:, None] & (scores == edges[:, None].astype(np.float32))).sum(-1)
    for resolution in (0.0, 0.05):
        many = Curve(edges, accepted, false, ties, same.sum(-1), (~same).sum(-1), resolution=resolution)
        for row in range(3):
            ends = same[row].sum(), (~same[row]).sum()
            one = Curve(edges, accepted[row], false[row], ties[row], *ends, resolution=resolution)
            for name in ("tpr", "fpr", "precision", "accuracy", "auroc", "average_precision", "eer"):
                assert getattr(many, name)[row] == pytest.approx(getattr(one, name), abs=1e-12)
            assert np.array_equal(many.fbeta(0.5)[row], one.fbeta(0.5))
            for rate in (1e-3, 0.1, 0.9):
                assert many.tpr_at_fpr(rate)[row] == one.tpr_at_fpr(rate)
            assert many.at(0.123).true_positives[row] == one.at(0.123).true_positives


def test_tpr_at_fpr_of_a_coarse_curve_is_linear_between_thresholds() -> None:
    counts = np.array([2, 6]), np.array([10, 30]), np.zeros(2, int), np.array(10), np.array(100)
    exact, coarse = Curve(np.array([0.8, 0.4]), *counts), Curve(np.array([0.8, 0.4]), *counts, resolution=0.4)
    assert [exact.tpr_at_fpr(rate) for rate in (0.05, 0.1, 0.2, 0.3, 0.65)] == [0, 0.2, 0.2, 0.6, 0.6]
    expected = [0.1, 0.2, 0.4, 0.6, 0.8]
    assert [coarse.tpr_at_fpr(rate) for rate in (0.05, 0.1, 0.2, 0.3, 0.65)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("negatives", "mirrored", "fpr", "resolvable"),
    [
        (100, False, 1e-2, True),
        (99, False, 1e-2, False),
        (198, True, 1e-2, False),
        (200, True, 1e-2, True),
        (100_000, False, 1e-5, True),
        (310_800, True, 1e-5, True),
        (99_999, False, 1e-5, False),
    ],
)
def test_a_rate_needs_enough_distinct_negatives(
    negatives: int, mirrored: bool, fpr: float, resolvable: bool
) -> None:
    one = np.array([1])
    curve = Curve(np.array([0.5]), one, one, one, np.array(2), np.array(negatives), negatives // 2 * mirrored)
    assert curve.resolvable(fpr) == resolvable


@pytest.mark.parametrize(
    ("rate", "negatives", "allowed"), [(0.29, 100, 29), (0.07, 100, 7), (0.1, 3000, 300)]
)
def test_a_rate_that_is_a_whole_number_of_negatives_is_not_lost_to_rounding(
    rate: float, negatives: int, allowed: int
) -> None:
    false = np.array([allowed - 1, allowed, allowed + 1])
    accepted = np.array([1, 2, 3])
    curve = Curve(
        np.array([0.9, 0.8, 0.7]), accepted, false, np.zeros(3, int), np.array(4), np.array(negatives)
    )
    assert curve.within(rate).tolist() == [True, True, False]
    assert curve.tpr_at_fpr(rate) == 0.5


def test_auroc_of_very_many_pairs_does_not_overflow() -> None:
    # Each number fits in 64 bits, their product does not: 200,000 images in 100 classes.
    positives, negatives = 400_000_000, 40_000_000_000
    curve = Curve(
        np.array([0.9, 0.1]),
        np.array([positives // 2, positives]),
        np.array([0, negatives // 2]),
        np.array([0, 0]),
        np.array(positives),
        np.array(negatives),
    )
    assert curve.auroc == pytest.approx(0.75)
    assert curve.average_precision == pytest.approx(0.5 + 0.5 * 4 / 204)


@pytest.mark.parametrize(("distance", "true", "false", "precision", "recall", "f1"), LABEL_IMAGES)
def test_published_label_image_rows_follow_from_their_counts(
    distance: float, true: int, false: int, precision: float, recall: float, f1: float
) -> None:
    positives, negatives = 560 * 4, 560 * 111 * 5
    assert (positives, negatives) == (2240, 310_800)
    curve = Curve(
        np.array([1 - distance]),
        np.array([true]),
        np.array([false]),
        np.array([0]),
        np.array(positives),
        np.array(negatives),
        repeated=310_800 // 2,
    )
    found = curve.precision[0], curve.tpr[0], curve.fbeta()[0]
    assert tuple(round(float(value), 4) for value in found) == (precision, recall, f1)

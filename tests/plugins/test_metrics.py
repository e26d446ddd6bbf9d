"""The built-in metrics and threshold policies."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.contracts import CurveMetric, RankMetric
from mlbench.errors import OptionError, ThresholdError
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.ranks import Ranks
from mlbench.options import Schema
from mlbench.plugin import MetricOptions, ThresholdOptions
from mlbench_metrics import mlbench_components
from mlbench_metrics.retrieval import Retrieval
from mlbench_metrics.thresholds import BestAccuracy, BestF1, BestFBeta, Fixed, FprAtMost, PrecisionAtLeast
from mlbench_metrics.verification import Verification


def label_images(*rows: tuple[float, int, int]) -> Curve:
    """The curve of the published study with some of its rows: distance, TP, FP."""
    distance, accepted, false = map(np.array, zip(*rows, strict=True))
    ends = np.array(2240), np.array(310_800)
    return Curve(1 - distance, accepted, false, np.zeros_like(false), *ends, repeated=int(ends[1]) // 2)


def some_curve(seed: int = 0, count: int = 400) -> tuple[Curve, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    same = generator.random(count) < 0.25
    scores = (generator.normal(size=count) / 4 + 0.3 * same).clip(-1, 1).astype(np.float32)
    return Curve.of(scores, same), scores, same


def make(options_class, options):
    base = MetricOptions if issubclass(options_class, MetricOptions) else ThresholdOptions
    return Schema(options_class, base, owner="test").make(options)


def test_metrics_measure_exactly_what_they_announce() -> None:
    ranks = Ranks(np.array([1, 3, 2]), np.array([0, 2, 3]))
    curve = some_curve()[0]
    for options in ({}, {"k": [2]}, {"k": [3, 1, 3]}):
        metric = make(Retrieval, options)
        assert isinstance(metric, RankMetric)
        assert not isinstance(metric, CurveMetric)
        assert metric.per_query(ranks).keys() == metric.quantities().keys()
    for options in ({}, {"beta": 2.0, "fpr": [0.05, 0.2]}, {"beta": 1.0}, {"fpr": []}):
        metric = make(Verification, options)
        assert isinstance(metric, CurveMetric)
        assert not isinstance(metric, RankMetric)
        for threshold in (None, 0.5):
            found = metric.of_curve(curve, threshold)
            assert found.keys() == metric.quantities().keys()


def test_every_metric_and_policy_is_registered() -> None:
    assert {(each.kind, each.name) for each in mlbench_components()} == {
        ("metric", "retrieval"),
        ("metric", "verification"),
        *(("threshold", name) for name in ("best_f1", "best_fbeta", "best_accuracy")),
        *(("threshold", name) for name in ("precision_at_least", "fpr_at_most", "fixed")),
    }


rankings = st.lists(st.lists(st.booleans(), min_size=1, max_size=25).filter(any), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rankings, st.sets(st.integers(1, 30), min_size=1, max_size=3))
def test_retrieval_equals_the_definitions(rankings: list[list[bool]], depths: set[int]) -> None:
    places = [[place for place, same in enumerate(each, 1) if same] for each in rankings]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in places])])
    found = Retrieval(k=tuple(depths)).per_query(Ranks(np.concatenate(places), offsets))
    for at, ranking in enumerate(rankings):
        naive = oracle.of_ranking(ranking, tuple(depths))
        assert {name: float(values[at]) for name, values in found.items()} == pytest.approx(naive)


def test_retrieval_by_hand() -> None:
    # Relevant at 2, 3 and 6 of a ranking: R = 3.
    found = Retrieval(k=(1, 5)).per_query(Ranks(np.array([2, 3, 6]), np.array([0, 3])))
    assert {name: values.tolist() for name, values in found.items()} == {
        "recall_at_1": [0],
        "recall_at_5": [1],
        "precision_at_5": [2 / 5],
        "r_precision": [2 / 3],
        "map_at_r": pytest.approx([(1 / 2 + 2 / 3) / 3]),
        "map": pytest.approx([(1 / 2 + 2 / 3 + 3 / 6) / 3]),
        "mrr": [1 / 2],
    }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0]))
def test_verification_equals_counting(seed: int, beta: float) -> None:
    curve, scores, same = some_curve(seed % 1000, count=int(seed % 200) + 20)
    threshold = float(np.random.default_rng(seed).choice(curve.similarities))
    found = Verification(beta=beta, fpr=(0.01, 0.1, 0.5)).of_curve(curve, threshold)
    positives, negatives = same.sum(), (~same).sum()
    true, false = (same & (scores >= threshold)).sum(), (~same & (scores >= threshold)).sum()
    points = oracle.operating_points(scores, same)
    best = max(oracle.fbeta(t, f, positives) for _, t, f in points)
    expected = {
        "precision": true / (true + false),
        "recall": true / positives,
        "f1": oracle.fbeta(true, false, positives),
        f"f{beta:g}": oracle.fbeta(true, false, positives, beta),
        "accuracy": (true + negatives - false) / len(same),
        "f1_optimistic": best,
        "f1_gap": best - oracle.fbeta(true, false, positives),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    at_best = 1 - found["f1_optimistic_threshold"]
    assert curve.at(at_best).fbeta()[0] == pytest.approx(best)
    for rate, name in ((0.01, "1e-2"), (0.1, "1e-1"), (0.5, "0.5")):
        if rate * negatives < 1:
            assert found[f"tpr_at_fpr_{name}"].startswith("not resolvable")
            continue
        within = [(t, each) for each, t, f in points if f <= rate * negatives]
        most = max((t for t, _ in within), default=0)
        tpr = most / positives
        assert found[f"tpr_at_fpr_{name}"] == pytest.approx(tpr)
        assert found[f"fnmr_at_fmr_{name}"] == pytest.approx(1 - tpr)
        if most > 0:
            strictest = max(each for t, each in within if t == most)
            assert found[f"threshold_at_fpr_{name}"] == pytest.approx(1 - strictest)
        else:
            assert found[f"threshold_at_fpr_{name}"] == "no threshold accepts a positive pair at this rate"


def test_verification_does_not_extrapolate() -> None:
    # 999 different negatives, each in both orders: one false pair in 1000 cannot be seen.
    counts = np.array([5]), np.array([0]), np.array([0])
    curve = Curve(np.array([0.5]), *counts, np.array(10), np.array(2 * 999), repeated=999)
    found = Verification(fpr=(1e-3, 1e-2)).of_curve(curve, None)
    for name in ("tpr_at_fpr_1e-3", "fnmr_at_fmr_1e-3", "threshold_at_fpr_1e-3"):
        assert found[name] == "not resolvable: 999 different negative pairs, 1,000 needed"
    assert found["tpr_at_fpr_1e-2"] == 0.5


def test_f_beta_with_beta_1_is_f1() -> None:
    assert Verification(beta=1.0).quantities()["f1"] == Verification().quantities()["f1"]


def test_verification_without_a_threshold_says_so() -> None:
    found = Verification().of_curve(some_curve()[0], None)
    texts = {name for name, value in found.items() if value == "no threshold was fitted"}
    assert texts == {"f1", "f0.5", "precision", "recall", "accuracy", "f1_gap"}
    assert found["f1_optimistic"] > 0


def test_f_half_prefers_the_stricter_threshold_of_the_published_study() -> None:
    rows = (0.11, 1844, 340), (0.15, 2084, 606)
    curve = label_images(*rows)
    assert BestF1()(curve) == 1 - 0.15
    assert BestFBeta()(curve) == BestFBeta(beta=0.5)(curve) == 1 - 0.11
    assert curve.fbeta(0.5).round(3).tolist() == [0.840, 0.802]
    assert curve.fbeta().round(4).tolist() == [0.8336, 0.8454]
    at = Verification().of_curve(curve, 1 - 0.11)
    assert round(float(at["f1_gap"]), 4) == round(0.8454 - 0.8336, 4)
    assert PrecisionAtLeast(precision=0.8)(curve) == 1 - 0.11
    assert FprAtMost(fpr=0.0015)(curve) == 1 - 0.11


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_policies_choose_the_strictest_of_the_best(seed: int) -> None:
    generator = np.random.default_rng(seed)
    same = generator.random(40) < 0.4
    same[:2] = True, False
    scores = (generator.integers(0, 12, size=40) / 12 + 0.2 * same).astype(np.float32)
    curve = Curve.of(scores, same)
    points = [each for each in oracle.operating_points(scores, same) if each[0] in curve.similarities]
    positives, negatives = int(same.sum()), int((~same).sum())
    rules = {
        BestF1(): lambda true, false: oracle.fbeta(true, false, positives),
        BestFBeta(beta=0.3): lambda true, false: oracle.fbeta(true, false, positives, 0.3),
        BestAccuracy(): lambda true, false: true + negatives - false,
        PrecisionAtLeast(precision=0.6): lambda true, false: true if true / (true + false) >= 0.6 else -1,
        FprAtMost(fpr=0.2): lambda true, false: true if false <= 0.2 * negatives else -1,
    }
    for policy, worth in rules.items():
        values = [round(worth(true, false), 12) for _, true, false in points]
        if max(values) < 0:
            with pytest.raises(ThresholdError):
                policy(curve)
        else:
            assert policy(curve) == points[values.index(max(values))][0]


def test_fixed_is_what_was_asked_with_or_without_a_curve() -> None:
    assert Fixed(distance=0.25)(None) == 0.75
    assert Fixed(distance=0.25)(some_curve()[0]) == 0.75
    assert Fixed(distance=0.25).notes == ()


def test_fixed_takes_a_euclidean_distance_and_hints_at_one() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 8))
    one, other = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert Fixed(euclidean=float(np.linalg.norm(one - other)))(None) == pytest.approx(one @ other)
    (note,) = Fixed(distance=1.348).notes
    assert note.endswith("if it is one, write euclidean: 1.348 (cosine distance 0.909)")
    assert Fixed(euclidean=1.348).notes == ()


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({}, "", "takes one of distance (cosine) and euclidean"),
        ({"distance": 0.3, "euclidean": 0.7}, "euclidean", "takes one of distance (cosine) and euclidean"),
        (
            {"distance": 2.5},
            "distance",
            "'distance' of test is 2.5: the distance of unit vectors",
        ),
        (
            {"euclidean": 3},
            "euclidean",
            "'euclidean' of test is 3: the distance of unit vectors",
        ),
        ({"distance": -0.1}, "distance", "expected float >= 0 and <= 2"),
    ],
)
def test_fixed_takes_one_distance_in_range(options, option: str, message: str) -> None:
    with pytest.raises(OptionError) as raised:
        make(Fixed, options)
    assert raised.value.option == option
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "policy", [BestF1(), BestAccuracy(), BestFBeta(), PrecisionAtLeast(precision=0.5), FprAtMost(fpr=0.1)]
)
def test_policies_that_fit_need_a_calibration_split(policy) -> None:
    with pytest.raises(ThresholdError, match="fitted on a calibration split, and there is none"):
        policy(None)


def test_policies_say_what_can_be_reached() -> None:
    curve = Curve.of(np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([False, True, False, True]))
    with pytest.raises(ThresholdError) as raised:
        PrecisionAtLeast(precision=0.9)(curve)
    assert str(raised.value) == (
        "no threshold reaches precision 0.9 on the calibration split; the best is 0.500"
    )
    with pytest.raises(ThresholdError) as raised:
        FprAtMost(fpr=1e-5)(curve)
    assert str(raised.value) == (
        "a false positive rate of 1e-05 needs 100,000 negative pairs; the calibration split has 2"
    )
    collapsed = Curve.of(np.ones(40, np.float32), np.arange(40) < 10)
    with pytest.raises(ThresholdError) as raised:
        FprAtMost(fpr=0.1)(collapsed)
    assert str(raised.value) == (
        "no threshold accepts a positive pair of the calibration split at a false positive rate of 0.1"
    )


@pytest.mark.parametrize(
    ("options_class", "options", "option"),
    [
        (Retrieval, {"k": []}, "k"),
        (Retrieval, {"k": [0]}, "k"),
        (Verification, {"beta": 0}, "beta"),
        (Verification, {"fpr": [1.0]}, "fpr"),
        (Verification, {"fpr": [0.0]}, "fpr"),
        (BestFBeta, {"beta": -1}, "beta"),
        (PrecisionAtLeast, {"precision": 1.5}, "precision"),
        (PrecisionAtLeast, {}, "precision"),
        (FprAtMost, {"fpr": 0}, "fpr"),
        (Fixed, {"distance": 2.5}, "distance"),
    ],
)
def test_options_out_of_range_are_refused(options_class, options, option) -> None:
    with pytest.raises(OptionError, match=option):
        make(options_class, options)

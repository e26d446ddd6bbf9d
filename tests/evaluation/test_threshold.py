from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mlbench.contracts import Target
from mlbench.errors import ComponentError, ThresholdError
from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
from mlbench.evaluation.calibration import calibrate, fit_threshold
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine, verification_curve
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import CalibrationCounts, Threshold
from mlbench_metrics.thresholds import BestF1, Fixed, FprAtMost, PrecisionAtLeast
from mlbench_metrics.verification import Verification

ENGINE = Engine(resamples=200, threads=1)
METRICS = [BuiltMetric(Verification(), Verification().quantities())]


def noisy(seed: int, classes: int, name: str = "test") -> Embeddings:
    """Five images in each class; the spread of the images differs between classes."""
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.normal(size=(classes, 16)), 5, axis=0)
    spread = np.repeat(generator.uniform(0.3, 1, size=(classes, 1)), 5, axis=0)
    vectors = centres + spread * generator.normal(size=centres.shape)
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(classes), 5), name)


def fitted(policy, classes: int, seed: int = 1, engine: Engine = ENGINE) -> Threshold:
    return calibrate(policy, noisy(seed, classes), engine, np.random.default_rng(0))


def judged(threshold: Threshold, classes: int = 100, engine: Engine = ENGINE):
    return evaluate_all_pairs(noisy(0, classes), threshold, METRICS, np.random.default_rng(0), engine)


@pytest.mark.parametrize(
    "value", [None, np.nan, np.inf, -np.inf, 1.5, -1.1, "0.5", np.array([0.5]), [0.5], 0.5 + 0j], ids=repr
)
def test_a_policy_that_returns_no_similarity_is_an_error_that_names_it(value: object) -> None:
    class Odd:
        def __call__(self, curve: Curve | None) -> object:
            return value

    for attempt in (lambda: fit_threshold(Odd(), None), lambda: fitted(Odd(), 8)):
        with pytest.raises(ComponentError) as raised:
            attempt()
        message = str(raised.value)
        assert message.startswith(f"threshold policy {__name__}.")
        assert "Odd returned " in message
        assert "expected a cosine similarity in [-1, 1], ACCEPT_NOTHING, or a ThresholdError" in message
        assert "\n" not in message


@pytest.mark.parametrize("value", [1, np.float32(0.5), np.float64(-1), np.array(0.25), 1 + 1e-6])
def test_any_real_number_is_a_similarity(value) -> None:
    found = fit_threshold(lambda curve: value, None).similarity
    assert type(found) is float
    assert found == pytest.approx(float(value), abs=1e-5)
    assert abs(found) <= 1


@pytest.mark.parametrize("similarity", [np.nan, np.inf, 1.01, -2.0])
def test_a_threshold_must_be_a_similarity(similarity: float) -> None:
    with pytest.raises(ThresholdError, match=r"a cosine similarity in \[-1, 1\], not"):
        Threshold(similarity)


def test_a_target_must_be_a_target() -> None:
    class Odd:
        target = 0.95

        def __call__(self, curve: Curve | None) -> float:
            return 0.5

    with pytest.raises(ComponentError, match=r"Odd: its target is 0\.95, not a Target"):
        fit_threshold(Odd(), None)


@pytest.mark.parametrize("policy", [BestF1(), PrecisionAtLeast(precision=0.9), FprAtMost(fpr=0.01)])
def test_the_interval_is_close_to_the_spread_over_calibration_sets(policy) -> None:
    found = fitted(policy, 60)
    assert 0 < found.low < found.distance < found.high < 2
    plain = replace(ENGINE, resamples=0)
    others = [fitted(policy, 60, seed, plain).distance for seed in range(100, 140)]
    low, high = np.quantile(others, [0.025, 0.975])
    assert (high - low) / 2.5 < found.high - found.low < 2.5 * (high - low)


def test_the_interval_narrows_with_more_classes_and_follows_the_generator() -> None:
    few, many = fitted(BestF1(), 15), fitted(BestF1(), 150)
    assert many.high - many.low < few.high - few.low
    assert few == fitted(BestF1(), 15)
    other = calibrate(BestF1(), noisy(1, 15), ENGINE, np.random.default_rng(1))
    assert (other.distance, other.low) != (few.distance, few.low)


def test_a_fixed_threshold_and_zero_resamples_give_no_interval() -> None:
    for found in (
        fitted(Fixed(distance=0.3), 8),
        fitted(BestF1(), 8, engine=Engine(resamples=0, threads=1)),
    ):
        assert (found.low, found.high) == (None, None)
        assert judged(found).metrics["threshold"].low is None


def test_calibration_counts_each_pair_once() -> None:
    sample = noisy(1, 8)
    whole = calibrate(BestF1(), sample, ENGINE, np.random.default_rng(0)).calibration
    assert whole == CalibrationCounts(8, 8 * 10, 40 * 35 // 2)
    queries = np.arange(40) % 5 < 2
    apart = Embeddings(sample.vectors, sample.labels, queries, ~queries)
    part = calibrate(BestF1(), apart, ENGINE, np.random.default_rng(0)).calibration
    assert part == CalibrationCounts(8, 8 * 6, 16 * 21)
    grouped = replace(sample, groups=np.arange(40) % 5 % 2)  # groups of three and two images in each class
    known = calibrate(BestF1(), grouped, ENGINE, np.random.default_rng(0)).calibration
    assert known == CalibrationCounts(8, 8 * 6, 40 * 35 // 2)


def test_metrics_and_record_have_the_interval_of_the_threshold() -> None:
    threshold = fitted(BestF1(), 60)
    found = judged(threshold)
    metric = found.metrics["threshold"]
    assert (metric.value, metric.low, metric.high) == (threshold.distance, threshold.low, threshold.high)
    assert found.metrics["f1_optimistic_threshold"].low is None
    plain = found.plain()["threshold"]
    assert (plain["low"], plain["high"]) == (threshold.low, threshold.high)
    assert plain["calibration"] == {"classes": 60, "positive_pairs": 600, "negative_pairs": 300 * 295 // 2}
    assert json.loads(json.dumps(plain)) == plain


def test_a_missed_target_is_a_remark_with_numbers() -> None:
    found = judged(fitted(PrecisionAtLeast(precision=0.95), 20))
    precision = found.metrics["precision"]
    assert precision.value < 0.95
    remark = found.threshold.remarks["misses target"]
    interval = f"[{precision.low:.3g}–{precision.high:.3g}]"
    assert remark == (
        f"precision {precision.value:.4g} {interval} on test misses the target 0.95 "
        "(threshold fitted on 200 positive pairs of 20 calibration classes)"
    )
    assert remark in found.notes
    assert found.plain()["threshold"]["remarks"]["misses target"] == remark


def test_an_exceeded_rate_is_a_remark_without_intervals_too() -> None:
    plain = Engine(resamples=0, threads=1)
    threshold = fitted(FprAtMost(fpr=0.01), 60, engine=plain)
    curve = verification_curve(noisy(0, 100), plain)
    rate = float(curve.at(threshold.similarity).fpr[0])
    for value in (rate * 1.01, rate, rate * 0.99):
        aimed = replace(threshold, target=Target("fpr", value, at_most=True))
        assert ("misses target" in judged(aimed, engine=plain).threshold.remarks) == (value < rate)


def test_a_met_target_is_not_a_remark() -> None:
    threshold = fitted(PrecisionAtLeast(precision=0.5), 200)
    found = judged(threshold)
    assert found.metrics["precision"].value >= 0.5 or "misses target" in found.threshold.remarks
    met = replace(threshold, target=Target("precision", found.metrics["precision"].value))
    assert "misses target" not in judged(met).threshold.remarks


def test_a_threshold_from_few_classes_is_uncertain_and_from_many_is_not() -> None:
    few, many = judged(fitted(BestF1(), 8)), judged(fitted(BestF1(), 200))
    assert many.threshold.remarks == {}
    remark = few.threshold.remarks["uncertain"]
    assert remark.startswith(f"the threshold {few.threshold.distance:.4g} [{few.threshold.low:.3g}–")
    assert "within its interval F1 on test runs from" in remark
    assert "80 positive pairs of 8 calibration classes" in remark


def test_a_target_that_allows_no_wrong_pair_is_a_remark() -> None:
    curve = verification_curve(noisy(1, 60), ENGINE)
    assert "few pairs" not in fit_threshold(PrecisionAtLeast(precision=0.9), curve).remarks
    few = fit_threshold(PrecisionAtLeast(precision=0.999), curve)
    accepted = round(float(curve.at(few.similarity).true_positives[0]) / 2)
    assert few.remarks["few pairs"] == (
        f"precision 0.999 was fitted on {accepted} calibration pairs, too few: one wrong pair "
        "already misses it; at least 1,000 pairs are needed"
    )


def test_a_policy_that_fails_on_many_resamples_is_a_remark() -> None:
    class Rarely:
        """Finds a threshold only on resamples with many positive pairs."""

        def __call__(self, curve: Curve | None) -> float:
            if curve.positives < 0.98 * 1500:
                raise ThresholdError("too few")
            return float(curve.similarities[curve.fbeta().argmax()])

    sample = noisy(1, 60)
    labels = sample.labels.copy()
    labels[:30] = 0  # one class with many pairs, which a third of the resamples lack
    found = calibrate(Rarely(), Embeddings.of(sample.vectors, labels), ENGINE, np.random.default_rng(0))
    assert (
        "finds no threshold on 33% of the resamples of the calibration classes" in found.remarks["often none"]
    )


def test_notes_of_a_policy_are_remarks() -> None:
    found = fit_threshold(Fixed(distance=1.348), None)
    assert "looks like a Euclidean distance" in found.remarks["see note"]
    assert found.remarks["see note"] in judged(found).notes
    assert fit_threshold(Fixed(euclidean=1.348), None).similarity == float(on_grid(1 - 1.348**2 / 2))

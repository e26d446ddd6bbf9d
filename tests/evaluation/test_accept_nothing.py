from __future__ import annotations

import json

import numpy as np
import pytest
from pair_lists import random_pairs, verification

from mlbench.contracts import ACCEPT_NOTHING, Target
from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
from mlbench.evaluation.calibration import calibrate, fit_threshold
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.records.record import Record

ENGINE = Engine(resamples=50, threads=1)


class Nothing:
    target = Target("precision", 0.999)

    def __call__(self, curve: Curve | None) -> float:
        return ACCEPT_NOTHING


class Sometimes:
    """Accepts nothing on a resample, whose curve has a resolution."""

    def __call__(self, curve: Curve) -> float:
        return 0.5 if curve.resolution == 0 else ACCEPT_NOTHING


def noisy(seed: int) -> Embeddings:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(20, 6)).repeat(3, 0) + 0.6 * generator.normal(size=(60, 6))
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(20), 3))


def test_nothing_is_accepted_on_calibration_and_on_test() -> None:
    threshold = calibrate(Nothing(), noisy(0), ENGINE, np.random.default_rng(0))
    assert (threshold.similarity, threshold.distance, threshold.low) == (ACCEPT_NOTHING, -1.0, None)
    found = evaluate_all_pairs(noisy(1), threshold, verification(), np.random.default_rng(0), ENGINE)
    metrics = found.metrics
    assert (metrics["threshold"].value, metrics["threshold"].note) == (None, "the policy accepts no pair")
    assert (metrics["precision"].value, metrics["precision"].note) == (None, "no pair is accepted")
    assert [(metrics[name].value, metrics[name].low) for name in ("recall", "f1")] == [(0, 0), (0, 0)]
    negatives = found.facts["negative_pairs"]
    assert metrics["accuracy"].value == negatives / (negatives + found.facts["positive_pairs"])
    assert metrics["auroc"].value is not None
    assert list(found.threshold.remarks) == ["accepts nothing"]  # no target is missed, nothing is uncertain
    assert found.notes[-1].startswith("the policy accepts no pair: by its decision on the calibration split")
    plain = {"metrics": metrics, "evaluation": found.plain()}
    record = Record(suite="toy", case="a", seed=0, fingerprint="f", status="done", **plain)
    again = Record.from_plain(json.loads(json.dumps(record.plain(), allow_nan=False)), "a.json")
    assert again.metrics == metrics


class Rarely:
    """Accepts nothing on every n-th resample, else a threshold that falls with the resample."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.calls = 0

    def __call__(self, curve: Curve) -> float:
        if curve.resolution == 0:
            return 0.5
        self.calls += 1
        return ACCEPT_NOTHING if self.calls % self.every == 0 else 0.5 - self.calls / 1000


def test_resamples_that_accept_nothing_do_not_lack_a_threshold() -> None:
    threshold = calibrate(Sometimes(), noisy(0), ENGINE, np.random.default_rng(0))
    assert (threshold.similarity, threshold.low) == (0.5, None)
    assert threshold.remarks == {
        "often nothing": "the policy accepts no pair on 100% of the resamples of the calibration classes "
        "(threshold fitted on 60 positive pairs of 20 calibration classes)"
    }


def test_resamples_that_accept_nothing_have_the_least_distance() -> None:
    often = calibrate(Rarely(5), noisy(0), ENGINE, np.random.default_rng(0))
    assert list(often.remarks) == ["often nothing"]
    assert "accepts no pair on 20% of" in often.remarks["often nothing"]
    # 40 of the 50 resamples choose 0.501 to 0.549, all of them together 0.551.
    assert (often.low, often.high) == (0.0, pytest.approx(0.5 + 0.547775 - 0.551, abs=1e-4))
    rarely = calibrate(Rarely(50), noisy(0), ENGINE, np.random.default_rng(0))
    assert rarely.remarks == {}
    assert rarely.low is not None
    assert rarely.low > 0.4


def test_folds_of_a_list_of_pairs_say_so() -> None:
    embeddings, pairs = random_pairs(0, 200, 4)
    found = evaluate_pair_list(embeddings, pairs, Nothing(), verification())
    assert found.thresholds == [-1.0] * 4
    assert (found.metrics["threshold"].value, found.metrics["threshold"].note) == (
        None,
        "the policy accepts no pair",
    )
    assert found.metrics["precision"].note == "no pair is accepted"
    assert found.metrics["recall"].value == 0
    negatives = [1 - pairs.same[pairs.folds == fold].mean() for fold in range(4)]
    assert found.metrics["accuracy"].value == pytest.approx(np.mean(negatives))


def test_a_curve_accepts_no_pair_there() -> None:
    curve = Curve.of(np.array([1.0, 0.2], np.float32), np.array([True, False]))
    at = curve.at(ACCEPT_NOTHING)
    assert (at.true_positives.tolist(), at.false_positives.tolist()) == ([0], [0])
    assert curve.at(1.0).true_positives.tolist() == [1]
    assert fit_threshold(Nothing(), None).accepts_nothing

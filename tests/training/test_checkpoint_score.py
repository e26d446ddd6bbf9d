from __future__ import annotations

import numpy as np
import pytest

from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine, verification_curve
from mlbench.training.checkpoint_score import build_score, curve_name

ENGINE = Engine(resamples=50, threads=1)


def embeddings() -> Embeddings:
    generator = np.random.default_rng(0)
    centres = np.repeat(generator.normal(size=(8, 4)), 5, 0)
    vectors = centres + 0.8 * generator.normal(size=centres.shape)
    return Embeddings.of(vectors.astype(np.float32), np.repeat(np.arange(8), 5))


def test_the_default_is_the_best_f1_of_any_threshold(planned) -> None:
    case = planned(overrides=("threshold={name: fixed, distance: 0.1}",)).cases[0]
    best = float(verification_curve(embeddings(), ENGINE).fbeta().max())
    assert build_score(case, ENGINE)(embeddings()).value == best
    assert curve_name(case.recipe) == "calibration_f1"


def test_f1_at_the_best_threshold_has_the_same_bits(planned) -> None:
    default, named = (
        build_score(planned(overrides=each).cases[0], ENGINE)(embeddings())
        for each in ((), ("recipe.select_by=f1",))
    )
    assert default.value == named.value


def test_a_value_at_the_fitted_threshold_follows_the_policy(planned) -> None:
    values = [
        build_score(planned(overrides=("recipe.select_by=recall", each)).cases[0], ENGINE)(embeddings()).value
        for each in ("threshold={name: fixed, distance: 0.01}", "threshold={name: fixed, distance: 0.9}")
    ]
    assert values[0] < values[1]


@pytest.mark.parametrize(("name", "higher"), [("map_at_r", True), ("eer", False)])
def test_only_the_metric_that_announces_the_value_is_evaluated(planned, monkeypatch, name, higher) -> None:
    from mlbench_metrics.retrieval import Retrieval
    from mlbench_metrics.verification import Verification

    other, method = (Verification, "of_curve") if higher else (Retrieval, "per_query")

    def fail(*_: object) -> None:
        raise AssertionError

    case = planned(overrides=(f"recipe.select_by={name}",)).cases[0]
    monkeypatch.setattr(other, method, fail)
    found = build_score(case, ENGINE)(embeddings())
    assert 0 < found.value < 1
    assert (found.higher_is_better, found.low) == (higher, None)
    assert curve_name(case.recipe) == f"calibration_{name}"

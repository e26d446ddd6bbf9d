from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlbench.contracts import Quantity
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.evaluate import Engine, Measure, evaluate, verification_curve
from mlbench.evaluation.scan import Products
from mlbench.evaluation.similarity import STEP, on_grid
from mlbench.evaluation.threshold import fit_threshold
from mlbench_metrics.thresholds import BestF1, Fixed
from mlbench_metrics.verification import Verification


@given(st.floats(-1, 1))
def test_on_grid_is_the_nearest_multiple_and_is_exact_in_float32(value: float) -> None:
    found = float(on_grid(value))
    assert found / STEP == round(value / STEP)
    assert float(np.float32(found)) == found
    assert on_grid(found) == found


def test_on_grid_keeps_the_type_and_writes_where_it_is_told() -> None:
    values = np.array([0.1, -0.7], np.float32)
    expected = on_grid(values)
    assert expected.dtype == np.float32
    assert on_grid(values, out=values) is values
    assert np.array_equal(values, expected)


def twins(dim: int, count: int = 300) -> Embeddings:
    """Two images a class with the same vector."""
    vectors = np.random.default_rng(dim).standard_normal((count, dim)).astype(np.float32)
    return Embeddings.of(np.repeat(vectors, 2, axis=0), np.repeat(np.arange(count), 2))


def judged(sample: Embeddings, distance: float, products: Products = "float32"):
    engine = Engine(resamples=0, threads=1, products=products)
    measures = [Measure(each, each.quantities()) for each in (Verification(),)]
    threshold = fit_threshold(Fixed(distance=distance), None)
    return evaluate(sample, threshold, measures, np.random.default_rng(0), engine)


@pytest.mark.parametrize("products", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("dim", [8, 100, 512, 2048])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_equal_vectors_are_the_same_at_distance_0(dim: int, products: Products, make) -> None:
    sample = twins(dim, 100)
    sample = Embeddings(make(sample.vectors), sample.labels, sample.queries, sample.gallery)
    found = judged(sample, 0, products)
    values = {name: found.metrics[name].value for name in ("recall", "precision", "f1_gap", "auroc")}
    assert values == {"recall": 1, "precision": 1, "f1_gap": 0, "auroc": 1}
    assert found.sweep == {"distance": [0], "true_positives": [200], "false_positives": [0]}
    assert found.metrics["f1_optimistic_threshold"].value == 0


def test_the_interval_at_distance_0_takes_equal_vectors_for_equal_too() -> None:
    threshold = fit_threshold(Fixed(distance=0), None)
    measures = [Measure(each, each.quantities()) for each in (Verification(),)]
    engine = Engine(resamples=50, threads=1)
    found = evaluate(twins(512), threshold, measures, np.random.default_rng(0), engine).metrics["recall"]
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_a_threshold_fitted_on_equal_vectors_holds_for_other_equal_vectors() -> None:
    calibration, test = twins(512, 20), twins(510, 300)
    curve = verification_curve(calibration, Engine(threads=1))
    threshold = fit_threshold(BestF1(), curve)
    assert threshold.distance == 0
    measures = [Measure(each, each.quantities()) for each in (Verification(),)]
    found = evaluate(test, threshold, measures, np.random.default_rng(0), Engine(resamples=0, threads=1))
    assert found.metrics["recall"].value == 1


def test_equal_vectors_of_different_classes_are_no_nearer_and_no_farther_than_those_of_one() -> None:
    sample = twins(512)
    labels = sample.labels.copy()
    labels[1::4], labels[3::4] = labels[3::4], labels[1::4].copy()  # half of the twins are in other classes
    some = np.repeat(np.random.default_rng(0).standard_normal((20, 512)), 2, axis=0)
    vectors = np.concatenate([sample.vectors, some]).astype(np.float32)
    both = Embeddings.of(vectors, np.concatenate([labels, np.repeat(np.arange(20) + 1000, 2)]))
    curve = verification_curve(both, Engine(threads=1))
    assert (curve.similarities[0], curve.accepted[0]) == (1, 40)
    assert curve.false[0] == curve.ties[0] == 600


@pytest.mark.parametrize("legs", [(3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25)])
def test_a_pair_exactly_at_the_threshold_is_accepted(legs: tuple[int, int, int]) -> None:
    """The cosine of (a, b) and (b, a) is 2ab / c², of (a, b) and (c, 0) it is a / c: fractions that float32
    does not hold."""
    a, b, c = legs
    for other, cosine in (((b, a), 2 * a * b / c**2), ((c, 0), a / c), ((0, c), b / c)):
        sample = Embeddings.of(np.array([(a, b), other, (-1, 0), (0, -1)]), np.array([0, 0, 1, 2]))
        found = judged(sample, 1 - cosine)
        assert found.metrics["recall"].value == 1
        assert judged(sample, 1 - cosine - 2 * STEP).metrics["recall"].value == 0


def test_a_metric_sees_the_threshold_that_pairs_meet() -> None:
    class Told:
        def of_curve(self, curve, threshold):
            return {"told": threshold}

    threshold = fit_threshold(Fixed(distance=0.3), None)
    measure = Measure(Told(), {"told": Quantity("threshold")})
    engine = Engine(resamples=0, threads=1)
    found = evaluate(twins(8), threshold, [measure], np.random.default_rng(0), engine)
    assert found.metrics["told"].value == threshold.similarity == pytest.approx(0.7, abs=STEP / 2)

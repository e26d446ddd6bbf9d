from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlbench.contracts import Quantity
from mlbench.errors import PluginError
from mlbench.evaluation import embedding_estimates
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric, estimate_metrics
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import Estimate

RESAMPLES = 200


def sample() -> Embeddings:
    """8 classes of 2 to 4 images; the last image has no role, and the one before is no query."""
    labels = np.repeat(np.arange(8), [2, 3, 4, 2, 3, 4, 2, 4])
    vectors = np.random.default_rng(0).normal(size=(len(labels), 5)).astype(np.float32)
    found = Embeddings.of(vectors, labels)
    queries, gallery = found.queries.copy(), found.gallery.copy()
    queries[-2:] = gallery[-1] = False
    return replace(found, queries=queries, gallery=gallery)


def estimate(metric: object, embeddings: Embeddings, resamples: int = RESAMPLES) -> Estimate:
    built = BuiltMetric(metric, {"length": Quantity("mean length")}, "metric 'length' of plugin 'acme'")
    engine = Engine(resamples=resamples, threads=1)
    found = evaluate_all_pairs(embeddings, Threshold(None), [built], np.random.default_rng(1), engine)
    return found.metrics["length"]


def lengths(embeddings: Embeddings) -> np.ndarray:
    return np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)


class OfImages:
    def of_embeddings(self, embeddings):
        return {"length": lengths(embeddings)}


class Plain:
    def of_embeddings(self, embeddings):
        assert isinstance(embeddings.vectors, np.ndarray)
        return {"length": float(lengths(embeddings)[embeddings.queries].mean())}


class Resampled(Plain):
    def resampled(self, embeddings, weights):
        weights = weights * embeddings.queries
        return {"length": weights @ lengths(embeddings) / weights.sum(1)}


def naive(embeddings: Embeddings) -> list[float]:
    """The mean length of the queries of each resample of the classes."""
    bootstrap = Bootstrap(8, RESAMPLES, 0.95, np.random.default_rng(1))
    found = []
    for chunk in bootstrap.weights():
        for times in chunk:
            rows = [
                row
                for label, count in enumerate(times.astype(int))
                for row in np.flatnonzero((embeddings.labels == label) & embeddings.queries).tolist() * count
            ]
            found.append(lengths(embeddings)[rows].mean())
    return found


@pytest.mark.parametrize("metric", [OfImages(), Resampled()])
@pytest.mark.parametrize("most", [1 << 22, 7])
def test_intervals_are_those_of_resampled_classes(metric, most: int, monkeypatch) -> None:
    monkeypatch.setattr(embedding_estimates, "_WEIGHTS", most)
    found = estimate(metric, sample())
    low, high = np.quantile(naive(sample()), [0.025, 0.975])
    assert found.value == pytest.approx(Plain().of_embeddings(sample())["length"])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_without_the_method_and_without_resamples_there_is_no_interval() -> None:
    assert estimate(Plain(), sample()).low is None
    for metric in (OfImages(), Resampled()):
        found = estimate(metric, sample(), resamples=0)
        assert found.value is not None
        assert found.low is None


def test_tensors_are_given_as_arrays() -> None:
    embeddings = sample()
    tensors = replace(embeddings, vectors=torch.from_numpy(embeddings.vectors))
    scan = Engine(threads=1).scan(AllPairs.of(embeddings))
    bootstrap = Bootstrap(8, RESAMPLES, 0.95, np.random.default_rng(1))
    built = BuiltMetric(Resampled(), {"length": Quantity("mean length")})
    found = estimate_metrics([built], tensors, scan, Threshold(None), bootstrap)
    assert found == {"length": estimate(Resampled(), embeddings)}


def test_a_method_that_leaves_a_value_out_or_has_no_value_gives_no_interval() -> None:
    class Nothing(Plain):
        def resampled(self, embeddings, weights):
            return {}

    class Nan(Plain):
        def resampled(self, embeddings, weights):
            return {"length": np.full(len(weights), np.nan)}

    assert estimate(Nothing(), sample()).low is None
    assert estimate(Nan(), sample()).low is None


def test_values_of_another_shape_name_the_metric() -> None:
    class Short:
        def of_embeddings(self, embeddings):
            return {"length": np.ones(3)}

    class Twice(Plain):
        def resampled(self, embeddings, weights):
            return {"length": np.ones(2 * len(weights))}

    for metric, shapes in ((Short(), r"\(3,\); expected \(24,\)"), (Twice(), r"\(2,\); expected \(1,\)")):
        told = f"^metric 'length' of plugin 'acme': metric 'length' has shape {shapes}$"
        with pytest.raises(PluginError, match=told):
            estimate(metric, sample())


@pytest.mark.parametrize(("at", "fails"), [(0, True), (-2, False)], ids=["query", "no query"])
def test_values_of_queries_must_be_finite(at: int, fails: bool) -> None:
    class OfSome:
        def of_embeddings(self, embeddings):
            values = lengths(embeddings)
            values[at] = np.inf
            return {"length": values}

    if not fails:
        assert estimate(OfSome(), sample()).value is not None
        return
    with pytest.raises(PluginError, match=r"plugin .acme.: .* is inf for 1 of \d+ queries"):
        estimate(OfSome(), sample())


def test_a_name_that_a_metric_of_two_kinds_misspells_stands_with_the_announced_one() -> None:
    class Both(Plain):
        def per_query(self, ranks):
            return {"lenght": np.ones(len(ranks.counts))}

    told = "not returned here: length; returned and not announced: lenght"
    with pytest.raises(PluginError, match=told):
        estimate(Both(), sample())

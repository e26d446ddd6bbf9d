"""Checks of metrics and of threshold policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlbench.contracts import ACCEPT_NOTHING, CurveMetric, EmbeddingMetric, Quantity, RankMetric
from mlbench.errors import ThresholdError
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.ranks import Ranks
from mlbench.seeding import numpy_generator
from mlbench.testing.check import Subject, expect
from mlbench.testing.random_state import untouched

__all__ = ["CHECKS"]


def _ranks() -> Ranks:
    """Ranks of three queries with 2, 1 and 3 positives."""
    return Ranks(np.array([1, 3, 2, 1, 4, 9]), np.array([0, 2, 3, 6]))


def _curve() -> Curve:
    generator = numpy_generator(0, "curve")
    same = np.arange(400) % 4 == 0
    return Curve.of(generator.normal(0.4 * same, 0.25).clip(-1, 1).astype(np.float32), same)


def _measured(metric: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(metric, RankMetric):
        found |= metric.per_query(_ranks())
    if isinstance(metric, CurveMetric):
        found |= metric.of_curve(_curve(), 0.3)
    if isinstance(metric, EmbeddingMetric):
        vectors = numpy_generator(0, "vectors").normal(size=(24, 8)).astype(np.float32)
        found |= metric.of_embeddings(Embeddings.of(vectors, np.arange(24) % 6))
    return found


def metric_gives_the_values_of_quantities(subject: Subject) -> None:
    announced = subject.quantities()
    mapped = isinstance(announced, Mapping) and all(isinstance(each, Quantity) for each in announced.values())
    expect(
        mapped and announced,
        f"quantities() returns {announced!r}; return a mapping of names to Quantity, with at least one",
    )
    metric = subject.build()
    kinds = (RankMetric, CurveMetric, EmbeddingMetric)
    expect(
        isinstance(metric, kinds),
        f"build returns {metric!r}; give the metric per_query(), of_curve() or of_embeddings()",
    )
    with untouched("the metric", "draw from a generator with a fixed seed"):
        measured = _measured(metric)
    if silent := sorted(announced.keys() - measured.keys()):
        raise AssertionError(
            f"the metric gives no value of {', '.join(silent)}, which quantities() announces; return exactly "
            "the names of quantities()"
        )
    if odd := sorted(measured.keys() - announced.keys()):
        raise AssertionError(
            f"the metric gives {', '.join(odd)}, which quantities() does not announce; add the names there, "
            "or correct them"
        )
    for name, value in measured.items():
        _expect_finite(name, value)
    again = _measured(subject.build()).keys()
    expect(
        again == measured.keys(),
        f"a second build gives {', '.join(sorted(again))}; return the same names always",
    )


def _expect_finite(name: str, value: Any) -> None:
    try:
        numbers = np.asarray(0 if isinstance(value, str) else value, np.float64)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise AssertionError(f"{name} is a {kind}; return numbers, or a text that says why not") from None
    wrong = numbers[~np.isfinite(numbers)]
    expect(
        not wrong.size,
        f"{name} is {wrong.flat[0] if wrong.size else ''}; return finite numbers; of_curve() and "
        "of_embeddings() may return a text that says why there is none instead",
    )


def rank_metric_takes_queries_separately(subject: Subject) -> None:
    metric = subject.build()
    if not isinstance(metric, RankMetric):
        return
    together = metric.per_query(_ranks())
    alone = metric.per_query(Ranks(np.array([1, 3]), np.array([0, 2])))
    for name, values in together.items():
        expect(
            np.shape(values) == (3,),
            f"{name} of 3 queries has another shape; return one value for each, (3,), not {np.shape(values)}",
        )
        close = np.isclose(values[0], alone[name][0], equal_nan=True)
        expect(
            close,
            f"{name} of a query is {values[0]:g} among three and {alone[name][0]:g} alone; compute it from "
            "the query's own ranks, without the other queries",
        )


def curve_metric_takes_resamples(subject: Subject) -> None:
    metric = subject.build()
    if not isinstance(metric, CurveMetric):
        return
    curve = _curve()
    without = metric.of_curve(curve, None)
    plain = metric.of_curve(curve, 0.3)
    expect(
        without.keys() == plain.keys(),
        f"without a threshold, of_curve() gives {', '.join(without) or 'nothing'}; return the same names, "
        "with a text that says why there is no value",
    )
    accepted, false, ties, positives, negatives = (
        np.stack([each, each])
        for each in (
            curve.true_positives,
            curve.false_positives,
            curve.ties,
            curve.positives,
            curve.negatives,
        )
    )
    twice = Curve(curve.similarities, accepted, false, ties, positives, negatives)
    resampled = metric.of_curve(twice, 0.3)
    for name, value in plain.items():
        if np.ndim(resampled[name]) == 1 and not isinstance(value, str):
            same = np.allclose(np.asarray(resampled[name], np.float64), float(value), equal_nan=True)
            expect(
                same,
                f"{name} of two equal curves on a leading axis differs from that of one; reduce over the "
                "last axis alone, such as sum(-1)",
            )
        else:
            right = isinstance(value, str) or np.ndim(value) == 0
            expect(
                right,
                f"{name} has shape {np.shape(value)}; return a number, one number for each curve, or a text "
                "that says why there is none",
            )


def embedding_metric_takes_resamples(subject: Subject) -> None:
    metric = subject.build()
    if not isinstance(metric, EmbeddingMetric) or not hasattr(metric, "resampled"):
        return
    vectors = numpy_generator(0, "vectors").normal(size=(24, 8)).astype(np.float32)
    embeddings = Embeddings.of(vectors, np.arange(24) % 6)
    values = metric.of_embeddings(embeddings)
    resampled = metric.resampled(embeddings, np.array([[1.0] * 24, [2.0] * 24]))
    for name, found in resampled.items():
        expect(
            np.shape(found) == (2,),
            f"resampled() gives {name} of shape {np.shape(found)} for 2 rows of weights; return one value "
            "for each row, here (2,)",
        )
        close = np.isclose(found[0], float(values[name]), equal_nan=True)
        expect(
            close,
            f"{name} of images that all count once is {values[name]}; resampled() gives {found[0]}; weight "
            "each image by its column",
        )


def threshold_is_a_similarity(subject: Subject) -> None:
    policy = subject.build()
    for curve in (_curve(), None):
        try:
            with untouched("the policy", "draw from a generator with a fixed seed"):
                similarity = policy(curve)
        except ThresholdError as error:
            expect(
                str(error).strip(), "a ThresholdError has no message; write what the curve can reach instead"
            )
            continue
        number = isinstance(similarity, float) and (-1 <= similarity <= 1 or similarity == ACCEPT_NOTHING)
        expect(
            number,
            f"the policy returns {similarity!r}; return a cosine similarity in [-1, 1] as a float, or "
            "ACCEPT_NOTHING, or raise ThresholdError",
        )
        again = policy(curve)
        expect(
            again == similarity,
            f"the policy returns {similarity!r}, then {again!r} for the same curve; draw nothing, and keep "
            "no state",
        )


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "metric": (
        metric_gives_the_values_of_quantities,
        rank_metric_takes_queries_separately,
        curve_metric_takes_resamples,
        embedding_metric_takes_resamples,
    ),
    "threshold": (threshold_is_a_similarity,),
}

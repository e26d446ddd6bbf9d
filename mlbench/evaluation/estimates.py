"""Estimates: values of metrics with their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.contracts import CurveMetric, EmbeddingMetric, Quantity, RankMetric
from mlbench.contracts.options import MetricOptions
from mlbench.errors import ComponentError, PluginError
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embedding_estimates import (
    NOT_A_NUMBER,
    embedding_estimates,
    expect_finite,
    to_estimate,
    to_numbers,
)
from mlbench.evaluation.embeddings import Embeddings, in_memory
from mlbench.evaluation.pair_scan import PairScan
from mlbench.evaluation.ranks import Ranks
from mlbench.evaluation.threshold import Threshold
from mlbench.records.record import Estimate

__all__ = [
    "BuiltMetric",
    "curve_estimates",
    "estimate_metrics",
    "per_query_values",
    "to_estimate",
]


@dataclass(frozen=True)
class BuiltMetric:
    """A built metric and the quantities that it announces, by name. owner: its name and plugin, for
    messages."""

    metric: RankMetric | CurveMetric | EmbeddingMetric
    quantities: Mapping[str, Quantity]
    owner: str = ""

    @classmethod
    def of(cls, options: MetricOptions, owner: str = "") -> BuiltMetric:
        """The metric with these options."""
        built = cls(options.build(), options.quantities(), owner)
        if not isinstance(built.metric, RankMetric | CurveMetric | EmbeddingMetric):
            raise built.mistake(
                f"{type(built.metric).__name__} has no per_query, of_curve or of_embeddings; a metric has at "
                "least one"
            )
        return built

    def mistake(self, problem: str) -> PluginError:
        """The error for a return value that breaks the contract."""
        return PluginError(f"{self.owner}: {problem}" if self.owner else problem)

    def numbers(self, name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
        """A return value as float64 of a shape. Raises PluginError if it is not numeric or has another
        shape."""
        try:
            return to_numbers(name, values, shape)
        except ComponentError as error:
            raise self.mistake(str(error)) from None

    def expect_announced(self, returned: Iterable[str], *, all_of_them: bool = True) -> None:
        """Raise PluginError for a name that was not announced and, with `all_of_them`, for one that is
        missing."""
        names = set(returned)
        extra = ", ".join(sorted(names - self.quantities.keys()))
        missing = ", ".join(sorted(self.quantities.keys() - names))
        if extra or (missing and all_of_them):
            # A metric of several kinds may return the others elsewhere.
            silent = "announced and not returned" if all_of_them else "announced and not returned here"
            raise self.mistake(
                f"metrics must return the quantities that they announce; {silent}: "
                f"{missing or 'none'}; returned and not announced: {extra or 'none'}"
            )


def per_query_values(metrics: Sequence[BuiltMetric], ranks: Ranks) -> dict[str, np.ndarray]:
    """The values of all rank metrics, (Q,) float64 each. Raises PluginError for values of another kind, that
    are not finite or that were not announced."""
    found: dict[str, np.ndarray] = {}
    for each in metrics:
        if isinstance(each.metric, RankMetric):
            values = each.metric.per_query(ranks)
            each.expect_announced(
                values, all_of_them=not isinstance(each.metric, CurveMetric | EmbeddingMetric)
            )
            found |= {name: _finite(each, name, value, ranks) for name, value in values.items()}
    return found


def _finite(metric: BuiltMetric, name: str, values: Any, ranks: Ranks) -> np.ndarray:
    """A return value of `per_query`. Raises PluginError if it is not a finite number for each query."""
    found = metric.numbers(name, values, ranks.counts.shape)
    try:
        expect_finite(name, found, "queries")
    except ComponentError as error:
        raise metric.mistake(str(error)) from None
    return found


def estimate_metrics(
    metrics: Sequence[BuiltMetric],
    embeddings: Embeddings,
    scan: PairScan,
    threshold: Threshold,
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    """Every announced quantity, in the order and with the fields of the announcement.

    scan: of the embeddings, with `per_query_values` of the metrics. Raises PluginError if a metric returns
    other quantities than it announces, or values that are not numbers.
    """
    found: dict[str, Estimate] = {}
    by_query = _rank_estimates(scan, bootstrap)
    for each in metrics:
        estimates = {name: by_query[name] for name in each.quantities if name in by_query}
        try:
            if isinstance(each.metric, CurveMetric):
                estimates |= curve_estimates(each.metric.of_curve, scan, threshold.similarity, bootstrap)
            if isinstance(each.metric, EmbeddingMetric):
                embeddings = in_memory(embeddings)
                estimates |= embedding_estimates(each.metric, embeddings, scan.classes, bootstrap)
        except ComponentError as error:
            raise each.mistake(str(error)) from None
        each.expect_announced(estimates)
        found |= {
            name: _named(estimates[name], each).announced(quantity)
            for name, quantity in each.quantities.items()
        }
    return found


def _named(estimate: Estimate, metric: BuiltMetric) -> Estimate:
    """The estimate of a metric, with the metric's name in the note on a value that is no number."""
    if estimate.note == NOT_A_NUMBER and metric.owner:
        return replace(estimate, note=f"{NOT_A_NUMBER}, from {metric.owner}")
    return estimate


def curve_estimates(
    of_curve: Callable[[Curve, float | None], Mapping[str, Any]],
    scan: PairScan,
    similarity: float | None,
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    """Quantities of the curve at a threshold, with intervals if the scan has histograms.

    of_curve: see `CurveMetric`. similarity: the threshold, None for none.
    """
    values = of_curve(scan.curve, similarity)
    if scan.histograms is None:
        return {name: to_estimate(name, value) for name, value in values.items()}
    # Bins are coarse, so resamples are compared with the estimate from the same bins.
    centre = of_curve(scan.histograms.curve(), similarity)
    # A resample of few classes may have no positive or no negative pair; its values are NaN.
    with np.errstate(invalid="ignore", divide="ignore"):
        chunks = [of_curve(curve, similarity) for curve in bootstrap.curves(scan.histograms)]
    estimates = {}
    for name, value in values.items():
        spread = None
        if np.ndim(chunks[0][name]) == 1:
            resampled = np.concatenate([to_numbers(name, chunk[name]) for chunk in chunks])
            if len(resampled) != bootstrap.resamples:
                raise ComponentError(
                    f"metric {name!r} has {len(resampled)} values for {bootstrap.resamples} resampled "
                    "curves; expected one for each"
                )
            spread = bootstrap, float(np.asarray(centre[name])[0]), resampled
        estimates[name] = to_estimate(name, value, spread)
    return estimates


def _rank_estimates(scan: PairScan, bootstrap: Bootstrap) -> dict[str, Estimate]:
    names = list(scan.per_query)
    if not names:
        return {}
    values = np.stack([np.asarray(scan.per_query[name], np.float64) for name in names], axis=1)
    means = values.mean(0)
    resampled = bootstrap.means(values, scan.query_classes) if bootstrap.resamples else None
    return {
        name: to_estimate(
            name, means[at], None if resampled is None else (bootstrap, means[at], resampled[:, at])
        )
        for at, name in enumerate(names)
    }

"""Estimates: values of metrics with their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlbench.contracts import CurveMetric, EmbeddingMetric, Quantity, RankMetric
from mlbench.contracts.options import MetricOptions
from mlbench.errors import ComponentError
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings
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
    """A built metric and the quantities that it announces, by name."""

    metric: RankMetric | CurveMetric | EmbeddingMetric
    quantities: Mapping[str, Quantity]

    @classmethod
    def of(cls, options: MetricOptions) -> BuiltMetric:
        """The metric with these options."""
        return cls(options.build(), options.quantities())


def per_query_values(metrics: Sequence[BuiltMetric], ranks: Ranks) -> dict[str, np.ndarray]:
    """The values of all rank metrics, (Q,) float64 each. Raises ComponentError for values of another kind."""
    values = _merged(each.metric.per_query(ranks) for each in metrics if isinstance(each.metric, RankMetric))
    return {name: _to_numbers(name, each, ranks.counts.shape) for name, each in values.items()}


def estimate_metrics(
    metrics: Sequence[BuiltMetric],
    embeddings: Embeddings,
    scan: PairScan,
    threshold: Threshold,
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    """Every announced quantity, in the order and with the fields of the announcement.

    scan: of the embeddings, with `per_query_values` of the metrics. Raises ComponentError if a metric returns
    other quantities than it announces, or values that are not numbers.
    """
    estimates = _rank_estimates(scan, bootstrap)
    for each in metrics:
        if isinstance(each.metric, CurveMetric):
            estimates |= curve_estimates(each.metric.of_curve, scan, threshold.similarity, bootstrap)
        if isinstance(each.metric, EmbeddingMetric):
            values = each.metric.of_embeddings(embeddings)
            estimates |= {name: to_estimate(name, value) for name, value in values.items()}
    announced = _merged(each.quantities for each in metrics)
    if announced.keys() != estimates.keys():
        missing, extra = (
            ", ".join(sorted(one.keys() - other.keys())) or "none"
            for one, other in ((announced, estimates), (estimates, announced))
        )
        raise ComponentError(
            f"metrics must return the quantities that they announce; announced and not returned: {missing}; "
            f"returned and not announced: {extra}"
        )
    return {name: estimates[name].announced(quantity) for name, quantity in announced.items()}


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
            resampled = np.concatenate([_to_numbers(name, chunk[name]) for chunk in chunks])
            spread = bootstrap, float(np.asarray(centre[name])[0]), resampled
        estimates[name] = to_estimate(name, value, spread)
    return estimates


def to_estimate(name: str, value: Any, spread: tuple[Bootstrap, float, np.ndarray] | None = None) -> Estimate:
    """The return value of a metric, a number or a text that says why there is none, as an estimate.

    spread: arguments of `Bootstrap.interval`, None for no interval. Raises ComponentError for another value.
    """
    if isinstance(value, str):
        return Estimate(None, note=value)
    number = float(_to_numbers(name, value, ()))
    if not np.isfinite(number):
        return Estimate(None, note="not a number")
    if spread is None:
        return Estimate(number)
    bootstrap, centre, resampled = spread
    interval = bootstrap.interval(number, centre, resampled)
    return Estimate(number) if interval is None else Estimate(number, *interval)


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


def _to_numbers(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The return value of a metric as float64. Raises ComponentError if it is not numeric or has another
    shape."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = None
    if found is None or values is None:
        raise ComponentError(f"metric {name!r} is {values!r}; expected a number, or a text that says why not")
    if shape is not None and found.shape != shape:
        raise ComponentError(f"metric {name!r} has shape {found.shape}; expected {shape}")
    return found


def _merged(mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for mapping in mappings for name, value in mapping.items()}

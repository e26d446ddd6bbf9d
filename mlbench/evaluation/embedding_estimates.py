"""Estimates of metrics of the embeddings, and the return value of any metric as an estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mlbench.contracts import EmbeddingMetric
from mlbench.errors import ComponentError
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.embeddings import Embeddings
from mlbench.records.record import Estimate

__all__ = ["NOT_A_NUMBER", "embedding_estimates", "expect_finite", "to_estimate", "to_numbers"]

#: Note of a value that is NaN or infinite.
NOT_A_NUMBER = "not a number"

#: Most weights of images that are made together; each takes 8 bytes.
_WEIGHTS = 1 << 22


def embedding_estimates(
    metric: EmbeddingMetric, embeddings: Embeddings, classes: np.ndarray, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    """Values of a metric of the embeddings, with intervals where it gives what they need (see
    `EmbeddingMetric`) and the bootstrap resamples.

    classes: (C,) ascending, the labels that the bootstrap resamples. Raises ComponentError for values that
    are not numbers or have another shape, and for values of queries that are not finite.
    """
    values = metric.of_embeddings(embeddings)
    members = embeddings.queries | embeddings.gallery
    index = np.where(members, np.searchsorted(classes, embeddings.labels), 0)
    of_images = {
        name: to_numbers(name, each, members.shape) for name, each in values.items() if np.ndim(each)
    }
    found = {
        name: _mean(name, each[embeddings.queries], index[embeddings.queries], bootstrap)
        for name, each in of_images.items()
    }
    resampled: Callable[..., Mapping[str, Any]] | None = getattr(metric, "resampled", None)
    numbers = [name for name, each in values.items() if name not in found and not isinstance(each, str)]
    spreads: dict[str, tuple[Bootstrap, float, np.ndarray]] = {}
    if resampled is not None and numbers and bootstrap.resamples:
        centre = resampled(embeddings, members[None].astype(np.float64))
        chunks = [
            (len(weights), resampled(embeddings, weights))
            for weights in _image_weights(bootstrap, index, members)
        ]
        for name in numbers:
            if name not in centre:  # a value without an interval
                continue
            (middle,) = to_numbers(name, centre[name], (1,))
            parts = [to_numbers(name, chunk[name], (count,)) for count, chunk in chunks]
            spreads[name] = bootstrap, float(middle), np.concatenate(parts)
    found |= {
        name: to_estimate(name, each, spreads.get(name)) for name, each in values.items() if name not in found
    }
    return found


def _mean(name: str, values: np.ndarray, index: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """The mean of values of queries. index: (Q,) their classes."""
    expect_finite(name, values, "queries")
    mean = values.mean()
    if not bootstrap.resamples:
        return to_estimate(name, mean)
    return to_estimate(name, mean, (bootstrap, mean, bootstrap.means(values[:, None], index)[:, 0]))


def _image_weights(bootstrap: Bootstrap, index: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    """Weights of the images, (R, N), for some resamples at a time. index: (N,) classes of the images.
    members: (N,) bool, images with a role."""
    together = max(1, _WEIGHTS // len(index))
    for weights in bootstrap.weights():
        for start in range(0, len(weights), together):
            yield weights[start : start + together, index] * members


def to_estimate(name: str, value: Any, spread: tuple[Bootstrap, float, np.ndarray] | None = None) -> Estimate:
    """The return value of a metric, a number or a text that says why there is none, as an estimate.

    spread: arguments of `Bootstrap.interval`, None for no interval. Raises ComponentError for another value.
    """
    if isinstance(value, str):
        return Estimate(None, note=value)
    number = float(to_numbers(name, value, ()))
    if not np.isfinite(number):
        return Estimate(None, note=NOT_A_NUMBER)
    if spread is None:
        return Estimate(number)
    bootstrap, centre, resampled = spread
    interval = bootstrap.interval(number, centre, resampled)
    return Estimate(number) if interval is None else Estimate(number, *interval)


def expect_finite(name: str, values: np.ndarray, of: str) -> None:
    """Raise ComponentError unless all values are finite. of: what they are the values of, in the plural."""
    wrong = values[~np.isfinite(values)]
    if len(wrong):
        raise ComponentError(
            f"metric {name!r} is {wrong[0]} for {len(wrong):,} of {len(values):,} {of}; expected a finite "
            "number for each"
        )


def to_numbers(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
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

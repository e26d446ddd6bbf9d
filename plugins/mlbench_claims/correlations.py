"""Correlations between two rows of values, over draws of both, with intervals and permutation tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import permutations

import numpy as np

__all__ = ["CORRELATIONS", "least_tail", "mean_draws", "permutation_tails"]

#: Above this number of orders the permutation test draws this many at random.
_ORDERS = 5040


def mean_draws(samples: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draws of the true means of samples, (draws, columns), from the samples (S, columns), S at least 2.

    The draws are multivariate t with S - 1 degrees of freedom around the sample means, so that the central 95
    % of any weighted sum of columns is its Student's t interval, whatever the correlations between columns.
    """
    count = len(samples)
    rest = samples - samples.mean(axis=0)
    normal = generator.standard_normal((draws, count)) @ rest / math.sqrt(count * (count - 1))
    scale = np.sqrt((count - 1) / generator.chisquare(count - 1, (draws, 1)))
    return samples.mean(axis=0) + normal * scale


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; 0 where one side has no spread."""
    a, b = (each - each.mean(axis=-1, keepdims=True) for each in (a, b))
    product = (a * b).sum(axis=-1)
    size = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis; ties have their mean rank."""
    return pearson(_ranks(a), _ranks(b))


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-b along the last axis."""
    one, other = np.sign(_pairs(a)), np.sign(_pairs(b))
    product = (one * other).sum(axis=(-2, -1))
    size = np.sqrt((one**2).sum(axis=(-2, -1)) * (other**2).sum(axis=(-2, -1)))
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def _pairs(values: np.ndarray) -> np.ndarray:
    return values[..., :, None] - values[..., None, :]


def _ranks(values: np.ndarray) -> np.ndarray:
    return (np.sign(_pairs(values)).sum(axis=-1) + values.shape[-1] + 1) / 2


#: The correlations by name.
CORRELATIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "spearman": spearman,
    "kendall": kendall,
    "pearson": pearson,
}


def least_tail(count: int) -> float:
    """The smallest share that `permutation_tails` can give for `count` variants."""
    orders = math.factorial(count)
    return 1 / (orders if orders <= _ORDERS else _ORDERS + 1)


def permutation_tails(
    a: np.ndarray, b: np.ndarray, correlation: str, generator: np.random.Generator
) -> tuple[float, float]:
    """Shares of the orders of `b`, (n,), whose correlation with `a` is at least as high as the given one, and
    at least as low: p-values against no association. All orders where there are at most 5,040."""
    count = len(b)
    if math.factorial(count) <= _ORDERS:
        orders = np.array(list(permutations(range(count))))
        extra = 0
    else:
        orders = generator.permuted(np.tile(np.arange(count), (_ORDERS, 1)), axis=1)
        extra = 1  # the given order is one of those drawn from
    measure = CORRELATIONS[correlation]
    found, given = measure(np.broadcast_to(a, orders.shape), b[orders]), measure(a, b)
    slack = 1e-9
    return tuple(
        float((np.count_nonzero(beyond) + extra) / (len(orders) + extra))
        for beyond in (found >= given - slack, found <= given + slack)
    )  # type: ignore[return-value]

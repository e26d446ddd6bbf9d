"""Lists of pairs with embeddings, and built metrics and policies, for tests of evaluation."""

from __future__ import annotations

import numpy as np

from mlbench.contracts import PairList
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.plugins import load_plugins
from mlbench.registry import Registry

REGISTRY = Registry(load_plugins())


def built(kind: str, name: str, **options: object) -> object:
    return REGISTRY.get(kind, name).make(options).build()


def verification() -> list[BuiltMetric]:
    return [BuiltMetric.of(REGISTRY.get("metric", "verification").make({"fpr": [0.1, 1e-4]}))]


def random_pairs(seed: int, count: int, folds: int) -> tuple[Embeddings, PairList]:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((60, 4)) + 2 * rng.standard_normal((12, 4)).repeat(5, 0)
    left = rng.integers(0, 60, count)
    same = rng.random(count) < 0.5
    right = np.where(same, left // 5 * 5 + rng.integers(0, 5, count), rng.integers(0, 60, count))
    same = left // 5 == right // 5
    return Embeddings.of(vectors, np.arange(60)), PairList(
        left, right, same, np.arange(count) * folds // count
    )

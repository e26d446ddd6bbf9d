from __future__ import annotations

import numpy as np
import oracle
import pytest

from mlbench.evaluation import disagreement
from mlbench.evaluation.disagreement import disagreement_share
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.similarity_grid import on_grid


def two_models(seed: int) -> tuple[Embeddings, Embeddings]:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(40, 6)).astype(np.float32)
    queries, gallery = generator.random((2, 40)) < 0.7
    if seed % 3 == 0:
        queries = gallery = np.zeros(40, bool)
    labels = generator.integers(5, size=40)
    groups = generator.integers(-1, 3, size=40) if seed % 2 else None
    other = vectors + 0.2 * generator.normal(size=vectors.shape)
    one, two = (Embeddings(each, labels, queries, gallery, groups=groups) for each in (vectors, other))
    return one, two


@pytest.mark.parametrize("seed", range(9))
def test_disagreement_share_equals_a_naive_count(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disagreement, "_ROWS", 7)
    monkeypatch.setattr(disagreement, "_COLUMNS", 16)
    one, other = two_models(seed)
    asking, found = (members if members.any() else ~members for members in (one.queries, one.gallery))
    pair = asking[:, None] & found[None] & ~np.eye(40, dtype=bool)
    if one.groups is not None:
        together = (one.groups[:, None] == one.groups) & (one.labels[:, None] == one.labels)
        pair &= ~together | (one.groups[:, None] < 0)
    answers = [
        on_grid(oracle.similarities(each.vectors)) >= on_grid(at) for each, at in ((one, 0.2), (other, 0.25))
    ]
    expected = (answers[0] ^ answers[1])[pair].mean()
    assert 0 < expected < 0.5
    assert disagreement_share(one, 0.2, other, 0.25) == pytest.approx(expected)
    assert disagreement_share(one, 0.2, one, 0.2) == 0

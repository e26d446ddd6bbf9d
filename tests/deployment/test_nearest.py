from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.deployment import nearest as nearest_module
from mlbench.deployment.approximate import ApproximateSearch
from mlbench.deployment.match import cosine
from mlbench.deployment.nearest import nearest
from mlbench.errors import DataError


def naive(vectors: np.ndarray, query: np.ndarray, count: int, own: int) -> list[tuple[float, int]]:
    """All cosines, sorted: the nearest first, then the first row."""
    scored = [(-cosine(query, vector), row) for row, vector in enumerate(vectors) if row != own]
    return sorted(scored)[:count]


@given(
    rows=st.lists(
        st.lists(st.sampled_from([-1.0, 0.5, 1.0, 2.0]), min_size=3, max_size=3), min_size=1, max_size=30
    ),
    count=st.integers(1, 8),
    block=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_nearest_is_a_sort_of_all_with_ties_in_order(rows: list[list[float]], count: int, block: int) -> None:
    vectors = np.array(rows, np.float32)
    own = [at if at % 2 else -1 for at in range(len(vectors))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_module, "_ROWS", block)
        patch.setattr(nearest_module, "_QUERIES", 4)
        found = nearest(vectors, vectors, count, own)
    for at, query in enumerate(vectors):
        expected = naive(vectors, query, count, own[at])
        kept = found.rows[at] >= 0
        assert found.rows[at][kept].tolist() == [row for _, row in expected]
        assert found.similarities[at][kept].tolist() == [-value for value, _ in expected]
        assert not kept[len(expected) :].any()


def test_nearest_refuses_embeddings_without_a_direction() -> None:
    with pytest.raises(DataError, match="the embedding of image 1 is zero"):
        nearest(np.array([[1, 0], [0, 0]], np.float32), np.ones((1, 2), np.float32), 1)
    with pytest.raises(DataError, match="queries: the embedding of image 0 is not finite"):
        nearest(np.ones((1, 2), np.float32), np.full((1, 2), np.nan, np.float32), 1)


@pytest.mark.parametrize("library", ["usearch", "faiss"])
def test_a_graph_finds_most_of_what_exact_search_finds(library) -> None:
    pytest.importorskip(library)
    vectors = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    search = ApproximateSearch(library, vectors)
    assert search.built is not None
    recall, queries = search.recall(5)
    assert queries == 100
    assert 0.9 < recall <= 1
    exact, own = nearest(vectors, vectors[:20], 5, list(range(20))), list(range(20))
    found = search(vectors, vectors[:20], 5, own)
    assert (found.rows != np.arange(20)[:, None]).all()
    same = found.rows == exact.rows
    assert same.mean() > 0.9
    assert (found.similarities[same] == exact.similarities[same]).all()
    again = ApproximateSearch(library, vectors)
    assert again.built is None
    assert (again(vectors, vectors[:20], 5, own).rows == found.rows).all()
    # One query, and more neighbours than there are rows.
    alone = search(vectors, vectors[:1], 5)
    assert alone.rows[0, 0] == 0
    few = ApproximateSearch(library, vectors[:3])(vectors[:3], vectors[:2], 9)
    assert sorted(few.rows[0].tolist()) == [-1] * 6 + [0, 1, 2]
    assert ApproximateSearch(library, vectors[:1]).recall(5) == (1.0, 1)


def test_recall_of_a_graph_is_the_share_of_the_nearest_that_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    search = ApproximateSearch("usearch", vectors)
    exact = nearest(vectors, vectors, 4, list(range(50)))

    class Poor:
        """Finds the first, second and fifth."""

        def rows(self, queries: np.ndarray, count: int) -> np.ndarray:
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            return np.argsort(-(queries @ unit.T), axis=1)[:, [0, 1, 2, 5]]

    monkeypatch.setattr(search, "_graph", Poor())
    assert exact.rows.shape == (50, 4)
    assert search.recall(4) == (0.5, 50)

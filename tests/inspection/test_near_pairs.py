"""Near pairs against all pairs, and their groups against a search of the graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.inspection import near
from mlbench.inspection.near import NearPairs, components, correlations, near_pairs


def unit_vectors(seed: int, count: int, dim: int = 3) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def brute_force(vectors: np.ndarray, threshold: float) -> dict[tuple[int, int], float]:
    wide = vectors.astype(np.float32)
    return {
        (i, j): float(wide[i] @ wide[j])
        for i in range(len(wide))
        for j in range(i + 1, len(wide))
        if wide[i] @ wide[j] >= threshold
    }


def as_dict(pairs: NearPairs) -> dict[tuple[int, int], float]:
    return dict(
        zip(
            zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.cosines.tolist(), strict=True
        )
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0.31, 0.77, 0.93]), st.integers(1, 9))
def test_near_pairs_are_all_pairs_above_the_threshold(
    seed: int, count: int, threshold: float, block: int
) -> None:
    vectors = unit_vectors(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_ROWS", block)
        patch.setattr(near, "_COLUMNS", block + 2)
        found = near_pairs(vectors, threshold)
    expected = brute_force(vectors, threshold)
    # The last bits of a product depend on the shape of the block.
    close = {
        pair
        for pair, cosine in as_dict(near_pairs(vectors, threshold - 1e-5)).items()
        if cosine < threshold + 1e-5
    }
    assert set(as_dict(found)) ^ set(expected) <= close
    assert found.found == len(found.first)
    assert np.all(np.diff(found.first) >= 0)


def test_near_pairs_keep_the_most_similar_and_count_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_ROWS", 4)
    vectors = unit_vectors(3, 30)
    everything = near_pairs(vectors, 0.5)
    kept = near_pairs(vectors, 0.5, most=7)
    assert kept.found == everything.found > 7
    assert sorted(kept.cosines) == pytest.approx(sorted(everything.cosines)[-7:])


def test_near_pairs_keep_what_is_accepted() -> None:
    vectors = unit_vectors(4, 25)
    even = near_pairs(vectors, 0.5, lambda first, second, cosines: (first + second) % 2 == 0)
    assert as_dict(even) == {
        pair: cosine for pair, cosine in as_dict(near_pairs(vectors, 0.5)).items() if sum(pair) % 2 == 0
    }


def test_near_pairs_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_ROWS", 4)
    seen: list[tuple[int, int]] = []
    near_pairs(unit_vectors(0, 10), 0.5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_components_join_chains() -> None:
    first, second = np.array([0, 1, 5]), np.array([1, 3, 6])
    groups = components(NearPairs(first, second, np.ones(3, np.float32), 3), 7).tolist()
    assert groups[0] == groups[1] == groups[3]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 4


def test_correlations_are_those_of_numpy() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (6, 16)).astype(np.uint8)
    thumbnails[5] = 7  # one colour: no correlation with anything
    first, second = np.array([0, 1, 2, 5]), np.array([1, 1, 4, 0])
    expected = np.corrcoef(thumbnails[:5].astype(float))
    assert correlations(thumbnails, first, second) == pytest.approx(
        [expected[0, 1], 1, expected[2, 4], 0], abs=1e-5
    )

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mlbench.errors import DataError
from mlbench.evaluation.embeddings import (
    Embeddings,
    _weighted_sum,
    collapse_note,
    comparable,
    mean_similarity,
    vector_norms,
)


def test_of_makes_every_image_a_query_and_a_gallery_image() -> None:
    sample = Embeddings.of(np.eye(3), [5, 5, 6], "mine")
    assert len(sample) == 3
    assert (sample.queries.tolist(), sample.gallery.tolist()) == ([True] * 3, [True] * 3)
    assert (sample.labels.tolist(), sample.name) == ([5, 5, 6], "mine")


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_norms_are_computed_in_double(make, dtype) -> None:
    vectors = np.array([[3, 4], [0, -2], [300, 400]], dtype)
    found = vector_norms(Embeddings.of(make(vectors), [0, 1, 1]))
    assert found.dtype == np.float64
    assert found.tolist() == [5, 2, 500]


def test_weighted_sum_of_a_tensor_is_that_of_an_array() -> None:
    generator = np.random.default_rng(0)
    vectors, weights = generator.normal(size=(9000, 3)).astype(np.float32), generator.normal(size=9000)
    of_tensor, of_array = (_weighted_sum(each, weights) for each in (torch.from_numpy(vectors), vectors))
    assert of_tensor == pytest.approx(of_array, rel=1e-12)
    assert of_array == pytest.approx(weights @ vectors, rel=1e-12)


def test_norms_of_more_than_one_chunk() -> None:
    vectors = np.random.default_rng(0).normal(size=(20_001, 3)).astype(np.float32)
    expected = np.sqrt((vectors.astype(np.float64) ** 2).sum(1))
    assert vector_norms(Embeddings.of(vectors, np.zeros(20_001))) == pytest.approx(expected, rel=1e-14)


def test_norms_of_float32_near_its_limits_are_finite_and_not_zero() -> None:
    vectors = np.array([[3e38, 3e38], [1e-44, 0]], np.float32)
    assert np.isfinite(vector_norms(Embeddings.of(vectors, [0, 1]))).all()


def spoilt(value: float, *rows: int) -> np.ndarray:
    vectors = np.ones((20, 4), np.float32)
    vectors[list(rows), 1:] = value
    if value == 0:
        vectors[list(rows)] = 0
    return vectors


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (spoilt(np.nan, 7), "test: the embedding of image 7 is not finite; "),
        (spoilt(np.inf, 3, 9), "test: the embedding of image 3 is not finite (and 1 others); "),
        (spoilt(-np.inf, 3, 9, 12), "test: the embedding of image 3 is not finite (and 2 others); "),
        (np.full((20, 4), 1e200), "test: the embedding of image 0 is not finite (and 19 others); "),
        (spoilt(0, 5), "test: the embedding of image 5 is zero, which has no direction; "),
        (np.ones(20), "test: embeddings have shape (20,); expected (images, dimensions)"),
        (np.ones((20, 2, 2)), "test: embeddings have shape (20, 2, 2); expected (images, dimensions)"),
        (np.ones((19, 2)), "test: 19 embeddings but labels of shape (20,); expected one for each"),
    ],
)
def test_norms_of_vectors_without_a_cosine_are_an_error(vectors, message, make) -> None:
    with pytest.raises(DataError) as raised:
        vector_norms(Embeddings.of(make(vectors), np.zeros(20, int), "test"))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("what", ["labels", "queries", "gallery"])
def test_norms_require_one_label_and_role_for_each_image(what) -> None:
    parts = {"labels": np.zeros(4, int), "queries": np.ones(4, bool), "gallery": np.ones(4, bool)}
    parts[what] = parts[what][:, None]
    with pytest.raises(DataError, match=rf"test: 4 embeddings but {what} of shape \(4, 1\)"):
        vector_norms(Embeddings(np.ones((4, 2)), **parts, name="test"))


@pytest.mark.parametrize("kind", ["cpu", "mps", "xpu", "cuda"])
def test_comparable_moves_vectors_to_the_cpu_except_from_cuda(kind: str) -> None:
    """With a stand-in for a tensor on a device that this machine lacks."""
    there = SimpleNamespace(device=torch.device(kind), cpu=lambda: torch.ones(2, 3))
    assert comparable(there) is there if kind == "cuda" else isinstance(comparable(there), np.ndarray)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("roles", ["all", "some", "none"])
def test_mean_similarity_is_the_mean_over_images_with_a_role(make, roles: str) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(0.3, 1, size=(50, 4)).astype(np.float32)
    queries, gallery = {
        "all": np.ones((2, 50), bool),
        "some": generator.random((2, 50)) < 0.4,
        "none": np.zeros((2, 50), bool),
    }[roles]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = unit[queries | gallery] if roles == "some" else unit
    expected = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean()
    sample = Embeddings(make(vectors), np.zeros(50, int), queries, gallery)
    assert mean_similarity(sample) == pytest.approx(expected, abs=1e-6)


def test_collapse_note_is_for_one_point_and_not_for_a_cone() -> None:
    generator = np.random.default_rng(0)
    point = Embeddings.of(1 + 0.01 * generator.normal(size=(40, 16)), np.zeros(40), "mine")
    told = collapse_note(mean_similarity(point), point.name)
    assert told.startswith(
        "the embeddings of mine are almost one point: the mean similarity of two images is 0.9999"
    )
    cone = Embeddings.of(1 + 0.1 * generator.normal(size=(40, 16)), np.zeros(40))
    assert 0.98 < mean_similarity(cone) < 0.995
    assert collapse_note(mean_similarity(cone), "mine") == ""
    assert np.isnan(mean_similarity(Embeddings.of(np.ones((1, 4)), [0])))
    assert collapse_note(np.nan, "mine") == ""

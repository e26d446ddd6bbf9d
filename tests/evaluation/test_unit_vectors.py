from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.products import Products, round_for_products
from mlbench.evaluation.unit_vectors import UnitVectors


def ordered(count: int, dim: int):
    generator = np.random.default_rng(0)
    sample = Embeddings.of(generator.normal(size=(count, dim)).astype(np.float32), np.arange(count) % 7)
    pairs = AllPairs.of(replace(sample, vectors=torch.from_numpy(sample.vectors)))
    return sample.vectors[pairs.queries.images], pairs.queries


@pytest.mark.parametrize("products", ["float32", "tf32", "bf16"])
def test_tiles_are_unit_vectors_rounded_for_the_products_and_padded(products: Products) -> None:
    vectors, queries = ordered(50, 11)
    wide = vectors.astype(np.float64)
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    unit = round_for_products(unit, products)
    for held in (True, False):
        found = UnitVectors(queries, products, 32, held=held)
        for start in (0, 5, 32, 49):
            rows, scales = found.tile(start)
            count = min(32, 50 - start)
            assert rows.shape == (32, 16)
            assert np.array_equal(rows[:count, :11], unit[start : start + count])
            assert not rows[count:].any()
            assert not rows[:, 11:].any()
            if products == "float32":
                assert scales is None
            else:
                norms = np.linalg.norm(unit[start : start + count].astype(np.float64), axis=1)
                assert scales[:count].numpy() == pytest.approx(1 / norms, rel=1e-7)


def test_rows_that_round_to_zero_have_a_finite_scale() -> None:
    _, queries = ordered(20, 3)
    tiny = torch.full((20, 3), 1e-42)
    found = UnitVectors(replace(queries, vectors=tiny, norms=np.ones(20)), "bf16", 32, held=True)
    assert torch.isfinite(found.tile(0).scales).all()

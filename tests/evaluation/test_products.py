from __future__ import annotations

import numpy as np
import torch

from mlbench.evaluation.products import round_for_products


def test_round_for_products_equals_torch() -> None:
    generator = np.random.default_rng(0)
    values = (generator.normal(size=20000) * 2.0 ** generator.integers(-30, 2, size=20000)).astype(np.float32)
    halves = np.arange(0x3F000000, 0x3F040000, 0x800, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, halves, -halves, [0, -0.0, 1, -1]]).astype(np.float32)
    assert round_for_products(values, "float32") is values
    as_torch = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal(round_for_products(values, "bf16").view(np.uint32), as_torch.view(np.uint32))


def test_tf32_rounding_is_to_nearest_with_ten_bits_ties_to_even() -> None:
    values = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    ulp = 2.0 ** (np.floor(np.log2(np.abs(values.astype(np.float64)))) - 10)
    assert np.array_equal(
        round_for_products(values, "tf32"), (np.round(values / ulp) * ulp).astype(np.float32)
    )
    half = np.float32(1 + 2**-11)
    assert round_for_products(np.array([half, 1 + 3 * 2**-11], np.float32), "tf32").tolist() == [1, 1 + 2**-9]

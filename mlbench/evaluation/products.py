"""The precision in which similarities are computed."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["Products", "round_for_products"]

#: float32, or products of vectors rounded to TF32 or bfloat16, summed in float32 as GPU matrix units do.
Products = Literal["float32", "tf32", "bf16"]

#: Low mantissa bits of a float32 that rounding drops.
_DROPPED_BITS: dict[Products, int] = {"float32": 0, "tf32": 13, "bf16": 16}


def round_for_products(values: np.ndarray, products: Products) -> np.ndarray:
    """Round float32 values to the precision of `products`, to nearest, ties to even; the type stays
    float32."""
    drop = _DROPPED_BITS[products]
    if drop == 0:
        return values
    bits = values.view(np.uint32)
    bits = bits + ((bits >> drop) & 1) + np.uint32((1 << (drop - 1)) - 1)
    return (bits & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)

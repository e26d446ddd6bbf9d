"""Similarities at thresholds: rounded to a grid that is coarser than the rounding errors of a product.

A float32 product of two equal unit vectors is 1 only up to a rounding error that depends on the library and
the device. Wherever similarities meet a threshold, both are therefore rounded to multiples of `STEP`, so that
a pair exactly at the threshold is accepted. Rankings compare similarities as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["STEP", "on_grid"]

#: A power of two, so that multiples in [-1, 1] are exact in float32. Half of it is 4 times the largest error
#: that float32 products of equal vectors with 8 to 8192 dimensions had (9e-7), and as much as five standard
#: deviations where 4096 products are summed one after the other.
STEP = 2.0**-17


def on_grid(values: Any, out: np.ndarray | None = None) -> Any:
    """The nearest multiples of `STEP` of a number or an array, of the same type; in `out` if it is given."""
    return np.multiply(np.rint(np.divide(values, STEP, out=out), out=out), STEP, out=out)

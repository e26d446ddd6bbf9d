"""Rounding of similarities to a grid, wherever they are compared with a threshold.

The float32 product of two equal unit vectors differs from 1 by a rounding error that depends on the library
and the device. Similarities and thresholds are therefore both rounded to multiples of `STEP`, so that a pair
exactly at the threshold is accepted. Rankings compare unrounded similarities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["STEP", "on_grid"]

#: A power of two: multiples in [-1, 1] are exact in float32. Half a step is 4 times the largest error (9e-7)
#: of float32 products of equal vectors with 8 to 8192 dimensions, and five standard deviations of the error
#: when 4096 products are summed one after the other.
STEP = 2.0**-17


def on_grid(values: Any, out: np.ndarray | None = None) -> Any:
    """Round a number or an array to the nearest multiple of `STEP`; same type, written to `out` if given."""
    return np.multiply(np.rint(np.divide(values, STEP, out=out), out=out), STEP, out=out)

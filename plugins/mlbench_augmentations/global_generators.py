"""Random draws of libraries that use Python's and NumPy's global generators, from a given generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["global_generators"]


@contextmanager
def global_generators(generator: np.random.Generator) -> Iterator[None]:
    """Seed both global generators from `generator` inside the block, and restore their states afterwards."""
    seeds = generator.integers(2**32, size=2).tolist()
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seeds[0])
    np.random.seed(seeds[1])  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002

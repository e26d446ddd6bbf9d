"""Libraries that draw from Python's and NumPy's global generators, made to draw from one that is passed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["global_generators"]


@contextmanager
def global_generators(generator: np.random.Generator) -> Iterator[None]:
    """Seed both global generators from `generator` inside the block, and give them back as they were."""
    seeds = generator.integers(2**32, size=2).tolist()
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seeds[0])
    np.random.seed(seeds[1])  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002

"""State of the global random generators of Python, NumPy and torch.

What a component may do with them:

- mlbench seeds all three before it builds a backbone, neck, loss, sampler or distiller, and restores them
  afterwards. `build` may draw from them, as the initialisation of weights does, and does not seed them.
- mlbench seeds all three before each epoch. In training mode, these parts may draw from torch's generator,
  as dropout does. They do not seed it, and do not touch the others, whose draws are not repeated where a
  batch is computed twice.
- Everything else draws from the generator that it is given, or not at all: networks in evaluation mode, data
  sets, augmentations, mixings, batch samplers, metrics, threshold policies and claims.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mlbench.seeding import torch_seed
from mlbench.testing.check import expect

__all__ = ["drawing_from_torch_alone", "expect_not_seeded", "untouched"]


def _states() -> dict[str, bytes]:
    """State by library."""
    # This reads the legacy generator, which the linter forbids to use.
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {
        "Python": pickle.dumps(random.getstate()),
        "NumPy": pickle.dumps(numpy_state),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def _changed(before: dict[str, bytes]) -> str:
    after = _states()
    return " and ".join(name for name in before if before[name] != after[name])


@contextmanager
def untouched(what: str, instead: str = "draw from the generator that is passed in") -> Iterator[None]:
    """Raise AssertionError where the block changes a global generator. what: the block, such as "image()";
    instead: what the component should do."""
    before = _states()
    yield
    changed = _changed(before)
    expect(not changed, f"{what} draws from or seeds the global generators of {changed}; {instead}")


@contextmanager
def drawing_from_torch_alone(what: str) -> Iterator[None]:
    """Raise AssertionError where the block changes the global generator of Python or NumPy."""
    before = {name: state for name, state in _states().items() if name != "torch"}
    yield
    changed = _changed(before)
    expect(
        not changed,
        f"{what} draws from or seeds the global generators of {changed}; draw from torch's, as "
        "torch.nn.Dropout does",
    )


def expect_not_seeded(what: str, call: Callable[[], object]) -> None:
    """Raise AssertionError where `call`, which is called twice, seeds a global generator: its state
    afterwards is then the same whatever it was before."""
    after = []
    for seed in range(2):
        with torch_seed(seed, "not to be seeded"):
            call()
            after.append(_states())
    seeded = " and ".join(name for name in after[0] if after[0][name] == after[1][name])
    expect(
        not seeded,
        f"{what} seeds the global generators of {seeded}; remove the call, such as torch.manual_seed(): "
        "mlbench seeds them before, from the case's seed",
    )

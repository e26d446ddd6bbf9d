"""Where randomness comes from: one integer seed, and a path of names that leads to each draw.

`derive(seed, "train", "augment", epoch, index)` is a number that depends on nothing but its
arguments, so the order in which things happen, the number of worker processes and a restart
change no draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "MAX_SEED",
    "derive",
    "deterministic",
    "generator_state",
    "matmul_precision",
    "numpy_generator",
    "set_generator_state",
    "torch_generator",
    "torch_seed",
]

#: Largest seed of a case: what 32 bits hold, which every library takes.
MAX_SEED = 2**32 - 1


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the draw that `path` names, under the run's `seed`."""
    # An np.int64 has another repr than the number it is.
    plain = tuple(part if isinstance(part, str) else int(part) for part in (seed, *path))
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for the draws that `path` names."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=derive(seed, *path)))


def torch_generator(seed: int, *path: str | int) -> torch.Generator:
    """A CPU torch generator for the draws that `path` names."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *path))


@contextmanager
def torch_seed(seed: int, *path: str | int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators inside the block and give them back afterwards: the CPU's, and that of
    `device`.

    For library code that draws from the global generator only (weight initialisation, dropout).
    """
    import torch

    kind = device.type if device is not None else "cpu"
    devices = [] if device is None or kind == "cpu" else [device.index or 0]
    with torch.random.fork_rng(devices=devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(derive(seed, *path))
        yield


def generator_state(device: torch.device) -> torch.Tensor:
    """State of torch's global generator of a device."""
    import torch

    if device.type == "cpu":
        return torch.get_rng_state()
    state: torch.Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


def set_generator_state(device: torch.device, state: torch.Tensor) -> None:
    """Put back what `generator_state` gave."""
    import torch

    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Multiply float32 matrices inside the block as `torch.set_float32_matmul_precision` names it."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def deterministic() -> Iterator[None]:
    """Make torch choose deterministic algorithms inside the block.

    An operation that has no deterministic form raises torch's own error, which names it.
    """
    import os

    import torch

    # cuBLAS reads this when its handle is made; without it, deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Filling every new tensor only helps to find reads of memory that was never written, and costs time.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark

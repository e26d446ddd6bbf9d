"""Seeds of all random draws: one integer seed for a case, and a path of names for each draw.

`derive(seed, "train", "augment", epoch, index)` depends only on its arguments, so the order of draws, the
number of worker processes and a restart change nothing.
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
    "any_order",
    "derive",
    "deterministic",
    "generator_state",
    "global_states",
    "matmul_precision",
    "numpy_generator",
    "numpy_state",
    "set_generator_state",
    "set_global_states",
    "set_numpy_state",
    "torch_generator",
    "torch_seed",
]

#: Largest seed of a case: 32 bits, which every library accepts.
MAX_SEED = 2**32 - 1

#: Environment variable that decides whether cuBLAS is deterministic.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the draw with this path, under the case's `seed`."""
    # The repr of an np.int64 differs from that of the int.
    plain = tuple(part if isinstance(part, str) else int(part) for part in (seed, *path))
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for the draws with this path."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=derive(seed, *path)))


def torch_generator(seed: int, *path: str | int) -> torch.Generator:
    """A CPU torch generator for the draws with this path."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *path))


@contextmanager
def torch_seed(seed: int, *path: str | int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators inside the block and restore them afterwards: torch's on the CPU and on
    `device`, Python's and NumPy's.

    For library code that can only draw from global generators (weight initialisation, dropout).
    """
    import random

    import numpy as np
    import torch

    kind = device.type if device is not None else "cpu"
    devices = [] if device is None or kind == "cpu" else [device.index or 0]
    drawn = derive(seed, *path)
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(drawn)
        random.seed(drawn)
        np.random.seed(drawn % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpy_before)  # noqa: NPY002


def generator_state(device: torch.device) -> torch.Tensor:
    """State of torch's global generator of a device."""
    import torch

    if device.type == "cpu":
        return torch.get_rng_state()
    state: torch.Tensor = torch.get_device_module(device).get_rng_state(device)
    return state


def set_generator_state(device: torch.device, state: torch.Tensor) -> None:
    """Restore a state from `generator_state`."""
    import torch

    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


def global_states(device: torch.device) -> dict[str, Any]:
    """States of the global generators that `torch_seed` seeds, as plain data and tensors."""
    import random

    import numpy as np
    import torch

    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    found = {
        "python": [version, list(words), gauss],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    return found if device.type == "cpu" else {**found, "device": generator_state(device)}


def set_global_states(device: torch.device, states: dict[str, Any]) -> None:
    """Restore states from `global_states`."""
    import random

    import numpy as np
    import torch

    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    keys = np.array(keys, np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        set_generator_state(device, states["device"])


def numpy_state(generator: np.random.Generator) -> str:
    """State of a generator from `numpy_generator`, as JSON."""
    import json

    return json.dumps(generator.bit_generator.state, default=lambda array: array.tolist())


def set_numpy_state(generator: np.random.Generator, state: str) -> None:
    """Restore a state from `numpy_state`."""
    import json

    import numpy as np

    found = json.loads(state)
    found["buffer"] = np.array(found["buffer"], np.uint64)
    found["state"] = {name: np.array(words, np.uint64) for name, words in found["state"].items()}
    generator.bit_generator.state = found


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set the precision of float32 products inside the block, by the names of
    `torch.set_float32_matmul_precision`: "highest" is float32 for matrix products and convolutions; the
    others allow TF32 on a GPU for both."""
    import torch

    before = torch.get_float32_matmul_precision()
    cudnn: Any = torch.backends.cudnn
    operations = (cudnn.conv, cudnn.rnn)
    precisions = [operation.fp32_precision for operation in operations]
    torch.set_float32_matmul_precision(precision)
    # Torch's default is TF32 for convolutions, whatever the precision of matrix products. Set by this switch
    # and not by `fp32_precision`, because torch.compile reads this one and raises where the two disagree.
    cudnn.allow_tf32 = precision != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32 = "tf32" in precisions
        for operation, each in zip(operations, precisions, strict=True):
            if operation.fp32_precision != each:
                operation.fp32_precision = each


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Make torch choose deterministic algorithms inside the block or, where they are not wanted, the fastest
    that cuDNN finds.

    An operation without a deterministic algorithm raises torch's own error, which names it.
    """
    import os

    import torch

    # cuBLAS reads this when its handle is created; without it, deterministic mode refuses matrix products.
    # Restored afterwards: a process that measures speed starts with the user's setting.
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    # Filling every new tensor helps to find reads of unwritten memory, and costs time.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


@contextmanager
def any_order() -> Iterator[None]:
    """Let torch add in any order inside the block, within `deterministic` too: for sums of integers, which
    no order changes."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)

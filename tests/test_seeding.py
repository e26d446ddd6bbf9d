from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.seeding import MAX_SEED, derive, numpy_generator

PATHS = st.lists(st.text(max_size=3) | st.integers(-5, 5), max_size=4)


def test_derive_is_the_same_in_every_process_and_version() -> None:
    assert derive(0, "train", "augment", 3, 17) == 1321675017500619600
    code = "from mlbench.seeding import derive; print(derive(0, 'train', 'augment', 3, 17))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "1321675017500619600"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(seed=st.integers(0, MAX_SEED), path=PATHS, other=PATHS)
def test_derive_gives_63_bits_that_differ_by_path(
    seed: int, path: list[str | int], other: list[str | int]
) -> None:
    assert 0 <= derive(seed, *path) < 2**63
    assert (derive(seed, *path) == derive(seed, *other)) == (path == other)
    assert derive(seed, *path) != derive(seed + 1, *path)


def test_a_name_and_a_number_are_different_paths() -> None:
    assert derive(0, "1") != derive(0, 1)
    assert derive(0, "a", "b") != derive(0, "ab")


def test_numbers_of_numpy_are_numbers() -> None:
    assert derive(np.int64(3), "a", np.int64(4)) == derive(3, "a", 4)  # type: ignore[arg-type]


def test_numpy_generators_repeat_and_are_apart() -> None:
    first, again, other = (numpy_generator(0, "a", n).integers(0, 2**32, 8) for n in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_torch_generators_repeat_and_global_state_is_given_back() -> None:
    import torch

    from mlbench.seeding import deterministic, torch_generator, torch_seed

    first, again, other = (torch.rand(8, generator=torch_generator(0, "a", n)) for n in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

    state = torch.random.get_rng_state()
    with torch_seed(0, "a"):
        inside = torch.rand(8)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch_seed(0, "a"):
        assert torch.equal(torch.rand(8), inside)

    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before


def test_every_global_generator_is_seeded_and_given_back() -> None:
    """A loss that draws from NumPy's must not depend on which case ran before."""
    import torch

    from mlbench.seeding import torch_seed

    def draw() -> tuple[float, float, float]:
        return torch.rand(1).item(), random.random(), float(np.random.random())  # noqa: NPY002

    inside = []
    for before in (1, 2):
        random.seed(before)
        np.random.seed(before)  # noqa: NPY002
        states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        with torch_seed(0, "a"):
            inside.append(draw())
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    assert inside[0] == inside[1]


def precisions() -> tuple[object, ...]:
    import torch

    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        cudnn.allow_tf32,
        cudnn.conv.fp32_precision == "tf32",
        cudnn.rnn.fp32_precision == "tf32",
    )


@pytest.mark.parametrize(("precision", "lower"), [("highest", False), ("high", True), ("medium", True)])
def test_convolutions_have_the_precision_of_matrix_products(precision: str, lower: bool) -> None:
    from mlbench.seeding import matmul_precision

    before = precisions()
    with matmul_precision(precision):
        assert precisions() == (precision, lower, lower, lower, lower)
        with matmul_precision("highest"):
            assert precisions() == ("highest", False, False, False, False)
        assert precisions() == (precision, lower, lower, lower, lower)
    assert precisions() == before
    with pytest.raises(ZeroDivisionError), matmul_precision(precision):
        _ = 1 / 0
    assert precisions() == before


def test_a_precision_that_was_set_by_torchs_newer_switches_comes_back() -> None:
    import torch

    from mlbench.seeding import matmul_precision

    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"
    try:
        with matmul_precision("high"):
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision == "ieee"
    finally:
        conv.fp32_precision = before


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_the_environment_is_as_it_was_after_deterministic_work(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    import torch

    from mlbench.seeding import deterministic

    name = "CUBLAS_WORKSPACE_CONFIG"
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)

    def flags() -> tuple[object, ...]:
        return (
            os.environ.get(name),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before = flags()
    with deterministic():
        assert flags() == (given or ":4096:8", True, False, False, False)
        with deterministic():  # a measured training step within
            pass
        assert os.environ[name] == (given or ":4096:8")
    assert flags() == before


def test_generator_states_are_those_of_the_device(monkeypatch) -> None:
    """Of whatever kind of device, by its own module of torch."""
    import torch

    from mlbench.seeding import generator_state, set_generator_state

    cpu = torch.device("cpu")
    state = generator_state(cpu)
    first = torch.rand(3)
    set_generator_state(cpu, state)
    assert torch.equal(torch.rand(3), first)

    states = {}
    for kind in ("mps", "xpu"):
        module = torch.get_device_module(kind)
        monkeypatch.setattr(module, "get_rng_state", lambda device: torch.tensor([len(str(device))]))
        monkeypatch.setattr(
            module, "set_rng_state", lambda state, device, kind=kind: states.update({kind: state})
        )
        device = torch.device(kind, 0)
        set_generator_state(device, generator_state(device))
        assert states[kind].tolist() == [5]


def test_any_order_leaves_deterministic_mode_inside_the_block_only() -> None:
    import torch

    from mlbench.seeding import any_order, deterministic

    with deterministic():
        with any_order():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()

from __future__ import annotations

import subprocess
import sys

import numpy as np
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

"""Row optimisers, against torch's optimisers on the rows that take part, and the compiled loops over rows."""

import importlib.util
import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from mlbench_samplers import row_kernels, row_loops
from mlbench_samplers.centre_rows import project, unit_rows
from mlbench_samplers.row_optimizers import RowAdamW, RowSGD

OPTIMIZERS = {
    "sgd": (partial(RowSGD, nesterov=True), partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    "momentum": (partial(RowSGD, momentum=0.8), partial(torch.optim.SGD, momentum=0.8)),
    "adamw": (partial(RowAdamW, betas=(0.8, 0.99)), partial(torch.optim.AdamW, betas=(0.8, 0.99))),
}
each_optimizer = pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS.values(), ids=list(OPTIMIZERS))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=[row_kernels, None], ids=["loops", "whole tensors"])
def loops(request):
    """The CPU's single pass, and the operations of other devices."""
    return request.param


@each_optimizer
def test_rows_in_every_step_equal_torch(ours, theirs, generator, loops):
    weights = torch.randn(12, 7, generator=generator, dtype=torch.float64)
    before = weights.clone()
    rows = torch.tensor([1, 4, 5, 11])
    expected = torch.nn.Parameter(weights[rows].clone())
    optimizer, reference = ours(weights), theirs([expected], lr=1.0, weight_decay=0.1)
    for step in range(5):
        gradient = torch.randn(4, 7, generator=generator, dtype=torch.float64)
        expected.grad = 0.5 * gradient
        reference.param_groups[0]["lr"] = lr = 0.1 / (step + 1)
        reference.step()
        scale = torch.tensor(0.5, dtype=torch.float64)
        optimizer.step(weights, rows, gradient.clone(), scale=scale, lr=lr, weight_decay=0.1, loops=loops)
    torch.testing.assert_close(weights[rows], expected.data, rtol=1e-12, atol=1e-14)
    others = [row for row in range(12) if row not in rows.tolist()]
    assert torch.equal(weights[others], before[others])
    for name, state in optimizer.state_dict().items():
        assert not state[others].any(), name


@each_optimizer
def test_a_row_is_updated_as_if_it_trained_alone(ours, theirs, generator, loops):
    """Rows take part in some steps; each equals a row that is trained alone in these steps."""
    weights = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    optimizer = ours(weights)
    alone = [torch.nn.Parameter(row.clone()) for row in weights]
    references = [theirs([row], lr=0.1, weight_decay=0.05) for row in alone]
    for step in range(8):
        rows = torch.randperm(6, generator=generator)[: 1 + step % 4].sort().values
        gradient = torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
        for row, slope in zip(rows.tolist(), gradient, strict=True):
            alone[row].grad = slope.clone()
            references[row].step()
        one = torch.ones((), dtype=torch.float64)
        optimizer.step(weights, rows, gradient, scale=one, lr=0.1, weight_decay=0.05, loops=loops)
    torch.testing.assert_close(weights, torch.stack([row.data for row in alone]), rtol=1e-12, atol=1e-14)


@each_optimizer
def test_threads_change_no_bit(ours, theirs, generator):
    rows = torch.randperm(3000, generator=generator)[:1200].sort().values
    start = torch.randn(3000, 4, generator=generator)
    gradient = torch.randn(1200, 4, generator=generator)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            weights, slopes = start.clone(), gradient.clone()
            units, inverse = unit_rows(weights, rows, loops=row_kernels)
            square = project(weights, rows, inverse, slopes, loops=row_kernels)
            optimizer, one = ours(weights), torch.tensor(1.0)
            optimizer.step(weights, rows, slopes, scale=one, lr=0.1, weight_decay=0.1, loops=row_kernels)
            results.append(torch.cat([weights.flatten(), units.flatten(), slopes.flatten(), square.view(1)]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_projected_gradients_are_those_of_the_rows(generator, loops):
    weights = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    weights[4] = 0
    rows, given = torch.tensor([0, 2, 4, 7]), torch.randn(4, 5, generator=generator, dtype=torch.float64)
    units, inverse = unit_rows(weights, rows, loops=loops)
    chosen = weights[rows].requires_grad_()
    expected = chosen / chosen.norm(dim=1, keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(units, expected)
    (slopes,) = torch.autograd.grad(expected, chosen, given)
    gradient = given.clone()
    square = project(weights, rows, inverse, gradient, loops=loops)
    torch.testing.assert_close(gradient, slopes)
    torch.testing.assert_close(square, slopes.square().sum())


def test_loops_are_found_for_the_cpu_and_missing_triton_is_named(monkeypatch):
    assert row_loops.find_loops(torch.zeros(3, 4)) is row_kernels
    assert row_loops.find_loops(torch.zeros(3, 4, dtype=torch.bfloat16)) is None
    monkeypatch.setitem(sys.modules, "mlbench_samplers.row_triton", None)
    device = torch.device("cuda", 77)
    with pytest.warns(UserWarning, match=r"Triton does not work here \(.*partial_fc uses slower operations"):
        assert row_loops._triton(device) is None
    row_loops._triton.cache_clear()


#: In a process of its own, as Triton reads the variable when it is imported.
INTERPRETED = """
import torch
from mlbench_samplers import row_loops, row_triton
from mlbench_samplers.row_optimizers import RowAdamW, RowSGD

row_loops._compare(row_triton, torch.device("cpu"))
for dtype, make in ((torch.float32, RowAdamW), (torch.bfloat16, RowAdamW),
                    (torch.float32, lambda weights: RowSGD(weights, nesterov=True))):
    results = []
    for loops in (row_triton, None):
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(30, 20, generator=generator).to(dtype)
        optimizer = make(weights)
        for _ in range(3):
            rows = torch.randperm(30, generator=generator)[:11].sort().values
            noise = tuple(torch.randint(2**16, size, generator=generator, dtype=torch.int32)
                          for size in ((11,), (3, 20)))
            optimizer.step(weights, rows, torch.randn(11, 20, generator=generator), scale=torch.tensor(0.7),
                           lr=0.1, weight_decay=0.1, noise=noise if dtype == torch.bfloat16 else None,
                           loops=loops)
        results.append([weights, *(getattr(optimizer, name) for name in optimizer.moments)])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
print("the same")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_equals_whole_tensors():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "the same\n", done.stderr


def noise(rows, width, generator):
    draw = partial(torch.randint, 2**16, generator=generator, dtype=torch.int32)
    return draw((rows,)), draw((3, width))


def test_bfloat16_rows_move_exactly_on_average(generator):
    """Each step is 1/100 of the distance to the next number; rounding to nearest would lose it."""
    weights = torch.ones(400, 50, dtype=torch.bfloat16)
    weights[1::2] = -1
    optimizer, rows = RowSGD(weights, momentum=0.0), torch.arange(400)
    lr = 2**-7 / 100
    for _ in range(50):
        gradient = torch.full((400, 50), -1.0)
        optimizer.step(
            weights, rows, gradient, scale=torch.tensor(1.0), lr=lr, weight_decay=0.0,
            noise=noise(400, 50, generator),
        )  # fmt: skip
    moved = (weights.float() - torch.tensor([1.0, -1.0]).repeat(200).unsqueeze(1)).mean(1)
    assert moved[0::2].mean().item() == pytest.approx(50 * lr, rel=0.05)
    assert moved[1::2].mean().item() == pytest.approx(50 * lr, rel=0.05)


def test_bfloat16_keeps_exact_values(generator):
    weights = torch.randn(20, 8, generator=generator).bfloat16()
    before = weights.clone()
    optimizer = RowAdamW(weights)
    optimizer.step(
        weights, torch.arange(20), torch.zeros(20, 8), scale=torch.tensor(1.0), lr=0.1, weight_decay=0.0,
        noise=noise(20, 8, generator),
    )  # fmt: skip
    assert torch.equal(weights, before)
    assert optimizer.first.dtype == optimizer.second.dtype == torch.bfloat16

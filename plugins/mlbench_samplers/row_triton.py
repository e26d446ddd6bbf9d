"""The operations of `row_kernels` in one pass over memory, for CUDA, by Triton.

Also for rows in bfloat16, which are rounded at random (see `row_optimizers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

__all__ = ["adamw", "project", "sgd", "unit_rows"]

_compiled: Callable[[Callable[..., Any]], Any] = triton.jit

#: Noise to round rows, numbers for rows and for columns; None for rows that are not rounded.
Noise = tuple[torch.Tensor, torch.Tensor] | None


def unit_rows(weights: torch.Tensor, rows: torch.Tensor, units: torch.Tensor, inverse: torch.Tensor) -> None:
    """See `row_kernels.unit_rows`."""
    _launch(_unit_rows, rows, weights, rows, units, inverse)


def project(
    weights: torch.Tensor,
    rows: torch.Tensor,
    inverse: torch.Tensor,
    gradient: torch.Tensor,
    squares: torch.Tensor,
) -> None:
    """See `row_kernels.project`."""
    _launch(_project, rows, weights, rows, inverse, gradient, squares)


def sgd(
    weights: torch.Tensor,
    momentum: torch.Tensor,
    rows: torch.Tensor,
    gradient: torch.Tensor,
    *,
    scale: torch.Tensor,
    lr: float,
    decay: float,
    mu: float,
    nesterov: bool,
    noise: Noise = None,
) -> None:
    """See `row_kernels.sgd`. noise: as `RowOptimizer.step` takes it."""
    numbers = (float(lr), float(decay), float(mu))
    tensors = (weights, momentum, rows, gradient, scale, *_drawn(noise, rows))
    _launch(_sgd, rows, *tensors, *numbers, nesterov=nesterov, rounded=noise is not None)


def adamw(
    weights: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    rows: torch.Tensor,
    gradient: torch.Tensor,
    rate: torch.Tensor,
    root: torch.Tensor,
    *,
    scale: torch.Tensor,
    kept: float,
    betas: tuple[float, float],
    eps: float,
    noise: Noise = None,
) -> None:
    """See `row_kernels.adamw`. noise: as `RowOptimizer.step` takes it."""
    # 1 - beta computed here: float32 is too coarse near 1.
    numbers = (float(kept), *map(float, betas), *(1.0 - beta for beta in betas), float(eps))
    tensors = (weights, first, second, rows, gradient, rate, root, scale, *_drawn(noise, rows))
    _launch(_adamw, rows, *tensors, *numbers, rounded=noise is not None)


def _drawn(noise: Noise, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # A kernel takes a tensor even where it does not read it.
    return (rows, rows) if noise is None else noise


def _launch(kernel: Any, rows: torch.Tensor, weights: torch.Tensor, *arguments: Any, **options: Any) -> None:
    """Run `kernel` with a program for each of `rows`."""
    if not len(rows):
        return
    width = weights.shape[1]
    block = triton.next_power_of_2(width)
    with torch.cuda.device_of(weights):  # type: ignore[no-untyped-call]
        kernel[(len(rows),)](
            weights, *arguments, width, **options, block=block, num_warps=min(max(block // 128, 1), 8)
        )


@_compiled
def _unit_rows(weights, rows, units, inverse, width, block: tl.constexpr):  # type: ignore[no-untyped-def]
    j = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    row = tl.load(rows + j) * width
    weight = tl.load(weights + row + columns, mask=inside, other=0.0).to(tl.float32)
    factor = 1.0 / tl.maximum(tl.sqrt(tl.sum(weight * weight, 0)), 1e-12)
    tl.store(inverse + j, factor)
    tl.store(units + j * width + columns, weight * factor, mask=inside)


@_compiled
def _project(  # type: ignore[no-untyped-def]
    weights, rows, inverse, gradient, squares, width, block: tl.constexpr
):
    j = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    row = tl.load(rows + j) * width
    weight = tl.load(weights + row + columns, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + j * width + columns, mask=inside, other=0.0)
    factor = tl.load(inverse + j)
    along = tl.sum(weight * slope, 0) * factor * factor
    slope = (slope - along * weight) * factor
    tl.store(squares + j, tl.sum(slope * slope, 0))
    tl.store(gradient + j * width + columns, slope, mask=inside)


@_compiled
def _store(  # type: ignore[no-untyped-def]
    place, values, of_row, of_columns, columns, inside, rounded: tl.constexpr
):
    """Store float32 values; if rounded, as bfloat16, rounded as `row_optimizers` describes."""
    if rounded:
        noise = (of_row ^ tl.load(of_columns + columns, mask=inside, other=0)) & 0xFFFF
        bits = (values.to(tl.int32, bitcast=True) + noise) & -65536
        tl.store(place, bits.to(tl.float32, bitcast=True).to(tl.bfloat16), mask=inside)
    else:
        tl.store(place, values, mask=inside)


@_compiled
def _sgd(  # type: ignore[no-untyped-def]
    weights, momentum, rows, gradient, scale, of_rows, of_columns, lr, decay, mu, width,
    nesterov: tl.constexpr, rounded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    row = tl.load(rows + j) * width
    weight = tl.load(weights + row + columns, mask=inside, other=0.0).to(tl.float32)
    moved = tl.load(momentum + row + columns, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + j * width + columns, mask=inside, other=0.0) * tl.load(scale)
    slope += decay * weight
    moved = mu * moved + slope
    if nesterov:
        weight -= lr * (slope + mu * moved)
    else:
        weight -= lr * moved
    of_row = tl.load(of_rows + j)
    _store(weights + row + columns, weight, of_row, of_columns, columns, inside, rounded)
    _store(momentum + row + columns, moved, of_row, of_columns + width, columns, inside, rounded)


@_compiled
def _adamw(  # type: ignore[no-untyped-def]
    weights, first, second, rows, gradient, rate, root, scale, of_rows, of_columns,
    kept, beta1, beta2, rest1, rest2, eps, width, rounded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    row = tl.load(rows + j) * width
    weight = tl.load(weights + row + columns, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(first + row + columns, mask=inside, other=0.0).to(tl.float32)
    square = tl.load(second + row + columns, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + j * width + columns, mask=inside, other=0.0) * tl.load(scale)
    mean = beta1 * mean + rest1 * slope
    square = beta2 * square + rest2 * slope * slope
    move = mean / (tl.sqrt(square) / tl.load(root + j) + eps)
    weight = kept * weight - tl.load(rate + j) * move
    of_row = tl.load(of_rows + j)
    _store(weights + row + columns, weight, of_row, of_columns, columns, inside, rounded)
    _store(first + row + columns, mean, of_row, of_columns + width, columns, inside, rounded)
    _store(second + row + columns, square, of_row, of_columns + 2 * width, columns, inside, rounded)

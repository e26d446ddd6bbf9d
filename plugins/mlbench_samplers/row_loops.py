"""The compiled loops over rows that a device has."""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

import torch

__all__ = ["find_loops"]

#: Longest row that a Triton program holds in registers.
_LONGEST = 8192


def find_loops(weights: torch.Tensor) -> ModuleType | None:
    """The module `row_kernels`, or `row_triton` with the same functions, for rows of `weights` (C, R); None
    where whole-tensor operations are to be used."""
    kind, dtype = weights.device.type, weights.dtype
    if kind == "cpu" and dtype in (torch.float32, torch.float64):
        from mlbench_samplers import row_kernels

        return row_kernels
    if kind == "cuda" and dtype in (torch.float32, torch.bfloat16) and weights.shape[1] <= _LONGEST:
        return _triton(weights.device)
    return None


@cache
def _triton(device: torch.device) -> ModuleType | None:
    """`row_triton` if it works on this device: Triton may be missing, or need a C compiler that is missing.

    Its results on a few rows are compared with those of whole-tensor operations, once in a process."""
    try:
        from mlbench_samplers import row_triton

        _compare(row_triton, device)
    except Exception as error:  # Triton raises many kinds
        reason = str(error).strip().splitlines()
        warnings.warn(
            f"Triton does not work here ({type(error).__name__}: {reason[0] if reason else ''}); "
            "partial_fc uses slower operations",
            stacklevel=2,
        )
        return None
    return row_triton


def _compare(loops: ModuleType, device: torch.device) -> None:
    """Raise AssertionError unless a step of RowSGD by `loops` is the one by whole-tensor operations."""
    from mlbench_samplers.centre_rows import project, unit_rows
    from mlbench_samplers.row_optimizers import RowSGD

    generator = torch.Generator(device).manual_seed(0)
    rows = torch.arange(1, 40, 3, device=device)
    for dtype in (torch.float32, torch.bfloat16):
        start = torch.randn((40, 24), generator=generator, device=device).to(dtype)
        of_rows, of_columns = (
            torch.randint(2**16, size, generator=generator, dtype=torch.int32, device=device)
            for size in ((len(rows),), (3, 24))
        )
        noise = (of_rows, of_columns) if dtype == torch.bfloat16 else None
        given = torch.randn((len(rows), 24), generator=generator, device=device)
        results = []
        for each in (loops, None):
            weights, gradient = start.clone(), given.clone()
            optimizer = RowSGD(weights)
            units, inverse = unit_rows(weights, rows, loops=each)
            square = project(weights, rows, inverse, gradient, loops=each)
            optimizer.step(
                weights,
                rows,
                gradient.clone(),
                scale=square.rsqrt(),
                lr=0.1,
                weight_decay=0.1,
                noise=noise,
                loops=each,
            )
            results.append([units, gradient, weights.float(), optimizer.momentum.float()])
        # bfloat16 may be rounded to the other neighbour where float32 differs in its last bit.
        close = 1e-5 if dtype == torch.float32 else 1e-2
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=close, atol=close)

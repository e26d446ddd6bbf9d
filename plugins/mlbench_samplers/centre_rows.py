"""Rows of the centres at unit length, and gradients by the rows from gradients by their unit vectors."""

from __future__ import annotations

from types import ModuleType

import torch

__all__ = ["compute_dtype", "project", "unit_rows"]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Type in which numbers stored as `dtype` are computed."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def unit_rows(
    weights: torch.Tensor,
    rows: torch.Tensor,
    *,
    out: torch.Tensor | None = None,
    loops: ModuleType | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows` of `weights` divided by their lengths, (K, D), and their inverse lengths (K,), both in
    `compute_dtype`. Lengths below 1e-12 count as 1e-12.

    weights: (C, D) float32, float64 or bfloat16; rows: (K,) int64; out: memory for the unit rows; loops: of
    `find_loops`.
    """
    dtype = compute_dtype(weights.dtype)
    if out is None:
        out = weights.new_empty((len(rows), weights.shape[1]), dtype=dtype)
    if loops is not None:
        inverse = out.new_empty(len(rows))
        loops.unit_rows(weights, rows, out, inverse)
        return out, inverse
    if weights.dtype == dtype:
        torch.index_select(weights, 0, rows, out=out)
    else:
        out.copy_(weights.index_select(0, rows))
    inverse = out.norm(dim=1).clamp_min_(1e-12).reciprocal_()
    out.mul_(inverse.unsqueeze(1))
    return out, inverse


def project(
    weights: torch.Tensor,
    rows: torch.Tensor,
    inverse: torch.Tensor,
    gradient: torch.Tensor,
    *,
    loops: ModuleType | None = None,
) -> torch.Tensor:
    """Turn `gradient` (K, D) by unit rows into the gradient by `rows` of `weights`, in place, and return the
    square of its norm, a scalar. Arguments as `unit_rows` takes and returns them.

    A unit row does not depend on the row's length: the gradient has no component along the row.
    """
    if loops is not None:
        squares = torch.empty_like(inverse)
        loops.project(weights, rows, inverse, gradient, squares)
        return squares.sum()
    chosen = weights.index_select(0, rows).to(gradient.dtype)
    along = torch.linalg.vecdot(chosen, gradient).mul_(inverse.square())
    gradient.addcmul_(chosen, along.unsqueeze(1), value=-1).mul_(inverse.unsqueeze(1))
    return gradient.norm().square()

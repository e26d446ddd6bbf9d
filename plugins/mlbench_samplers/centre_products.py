"""Cosines of embeddings to some of the class centres, and their gradients, in blocks of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from mlbench_samplers import large_pages
from mlbench_samplers.row_optimizers import block_rows, compute_dtype

__all__ = ["CentreProducts"]


class CentreProducts:
    """Products of embeddings with rows of the centres. Reuses its two largest tensors from step to step,
    because allocating them takes as long as a product.

    centres: (C, centres_per_class, dim). units: (N, dim), embeddings of unit length. rows: (K,) int64.
    """

    def __init__(self) -> None:
        self._memory: dict[str, torch.Tensor] = {}

    def cosines(
        self, centres: torch.Tensor, units: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines (N, K, centres_per_class), and the inverse lengths of the centres (K *
        centres_per_class,)."""
        each = centres.shape[1]
        cosines = self._reused("cosines", units, len(units), len(rows) * each)
        inverse = units.new_empty(len(rows) * each)
        for columns, block in _blocks(centres, rows):
            # Dividing the products by the lengths needs no normalised copy of the centres.
            torch.reciprocal(block.norm(dim=1).clamp_min_(1e-12), out=inverse[columns])
            part = cosines[:, columns]
            torch.mm(units, block.T, out=part)
            part.mul_(inverse[columns]).clamp_(-1, 1)
        return cosines.view(len(units), len(rows), each), inverse

    def gradients(
        self,
        centres: torch.Tensor,
        units: torch.Tensor,
        rows: torch.Tensor,
        by_cosines: torch.Tensor,
        inverse: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradient by the centres of `rows`, gradient by `units`, and the squared norm of the first.

        by_cosines: (N, K * centres_per_class), overwritten. inverse: inverse lengths of the centres.
        """
        gradient = self._reused("gradient", units, len(inverse), units.shape[1])
        by_units, square = torch.zeros_like(units), units.new_zeros(())
        products = None
        for columns, block in _blocks(centres, rows):
            slopes = by_cosines[:, columns].mul_(inverse[columns])
            by_units.addmm_(slopes, block)
            part = torch.mm(slopes.T, units, out=gradient[columns])
            # A cosine does not depend on the centre's length: the gradient has no component along the centre.
            # One array for all blocks: the memory of several would add up.
            products = torch.empty_like(block) if products is None else products
            along = torch.mul(block, part, out=products[: len(part)]).sum(1).mul_(inverse[columns].square())
            part.addcmul_(block, along.unsqueeze(1), value=-1)
            square += part.norm().square()
        return gradient, by_units, square

    def _reused(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """A tensor of this shape in the memory of the step before, where that is large enough."""
        size = math.prod(shape)
        if name not in self._memory or len(self._memory[name]) < size:
            self._memory.pop(name, None)
            self._memory[name] = large_pages.empty((size,), like.dtype, like.device)
        return self._memory[name][:size].view(shape)


def _blocks(centres: torch.Tensor, rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Blocks of the centres of `rows`: their columns among the cosines, and (B, dim) in the precision of the
    computation. A step copies them twice, which is faster than keeping the copies."""
    _, each, dim = centres.shape
    size = block_rows(each * dim, rows.device)
    stored = centres.new_empty((min(size, len(rows)), each, dim))
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        block = torch.index_select(centres, 0, chosen, out=stored[: len(chosen)])
        columns = slice(start * each, (start + len(chosen)) * each)
        yield columns, block.flatten(0, 1).to(compute_dtype(block.dtype))

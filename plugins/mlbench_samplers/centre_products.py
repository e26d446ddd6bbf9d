"""Products of embeddings with some of the class centres, and their gradients, in blocks of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from mlbench_samplers import large_pages, row_loops
from mlbench_samplers.centre_rows import project, unit_rows

__all__ = ["BLOCK_BYTES", "CentreProducts"]

#: Bytes of the rows that are multiplied at a time: few enough for a CPU's caches, many enough for a GPU.
BLOCK_BYTES = {"cpu": 2**23, "cuda": 2**27}


class CentreProducts:
    """Products of embeddings with rows of the centres. Reuses its largest tensors from step to step,
    because allocating them takes as long as a product.

    centres: (C, dim). rows: (K,) int64. units: (N, dim), embeddings of unit length. inverse: (K,) inverse
    lengths of the centres of `rows`.
    """

    def __init__(self) -> None:
        self._memory: dict[str, torch.Tensor] = {}

    def cosines(
        self, centres: torch.Tensor, units: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines (N, K), and `inverse`."""
        cosines, inverse = self._reused("products", units, len(units), len(rows)), units.new_empty(len(rows))
        for columns, block, lengths in self._blocks(centres, rows, units):
            inverse[columns] = lengths
            torch.mm(units, block.T, out=cosines[:, columns]).clamp_(-1, 1)
        return cosines, inverse

    def powers(
        self,
        centres: torch.Tensor,
        units: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """exp(scale * cosine), 0 at the target; `inverse`; the sum of the powers of each embedding (N,); and
        the sum of the unit centres, each times its power (N, dim).

        The powers are (N * K,): blocks of columns one after the other, as products are fastest into memory
        without gaps; `place` has their order. targets: (N,) int64, the target's column, or -1 where the
        target is not among the K. All is computed in one pass over the blocks, while they are in the cache.
        """
        powers, inverse = self._reused("products", units, len(units) * len(rows)), units.new_empty(len(rows))
        total, pull = units.new_zeros(len(units)), torch.zeros_like(units)
        scaled = units * scale
        for columns, block, lengths in self._blocks(centres, rows, units):
            inverse[columns] = lengths
            part = torch.mm(scaled, block.T, out=_part(powers, columns, units))
            place = targets - columns.start
            absent = (place < 0) | (place >= len(block))
            # exp(-inf) is 0. Nothing is added where the target is in no column of the block.
            infinite = torch.full_like(total, -math.inf).masked_fill_(absent, 0)
            part.scatter_add_(1, place.clamp_(0, len(block) - 1).unsqueeze(1), infinite.unsqueeze(1))
            total += part.exp_().sum(1)
            pull.addmm_(part, block)
        return powers, inverse, total, pull

    def place(self, rows: torch.Tensor, units: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Where `powers` has the number of each embedding in its one of `columns` (N,) int64: (N,) int64."""
        size = _size(rows, units)
        start = columns // size * size
        widths = (len(rows) - start).clamp_(max=size)
        return start * len(units) + torch.arange(len(units), device=rows.device) * widths + columns - start

    def pull(self, centres: torch.Tensor, by_cosines: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Gradient by `units` (N, dim) of the gradient by the cosines (N, K)."""
        result = by_cosines.new_zeros((len(by_cosines), centres.shape[1]))
        for columns, block, _ in self._blocks(centres, rows, by_cosines):
            result.addmm_(by_cosines[:, columns], block)
        return result

    def gradient(
        self,
        centres: torch.Tensor,
        units: torch.Tensor,
        rows: torch.Tensor,
        by_cosines: torch.Tensor,
        inverse: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient by the centres of `rows` (K, dim), and the square of its norm.

        by_cosines: gradient by the cosines, (N, K) or (N * K,) in the order of `powers`. Where that of each
        embedding is to be multiplied by a number, the embedding may be instead."""
        gradient = self._reused("gradient", units, len(rows), units.shape[1])
        square, loops = units.new_zeros(()), row_loops.find_loops(centres)
        for columns in _slices(rows, units):
            slopes = by_cosines[:, columns] if by_cosines.ndim == 2 else _part(by_cosines, columns, units)
            part = torch.mm(slopes.T, units, out=gradient[columns])
            square += project(centres, rows[columns], inverse[columns], part, loops=loops)
        return gradient, square

    def _blocks(
        self, centres: torch.Tensor, rows: torch.Tensor, like: torch.Tensor
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Blocks of `rows`: the slice of `rows`, the unit centres (B, dim), and their inverse lengths. A step
        copies the centres more than once, which is faster than keeping the copies."""
        loops = row_loops.find_loops(centres)
        for part in _slices(rows, centres):
            memory = self._reused("block", like, part.stop - part.start, centres.shape[1])
            yield part, *unit_rows(centres, rows[part], out=memory, loops=loops)

    def _reused(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """A tensor of this shape in the memory of the step before, where that is large enough."""
        size = math.prod(shape)
        if name not in self._memory or len(self._memory[name]) < size:
            self._memory.pop(name, None)
            self._memory[name] = large_pages.empty((size,), like.dtype, like.device)
        return self._memory[name][:size].view(shape)


def _size(rows: torch.Tensor, like: torch.Tensor) -> int:
    """Number of rows, of the length of those of `like`, in a block."""
    return max(BLOCK_BYTES.get(rows.device.type, 2**27) // (4 * like.shape[1]), 1)


def _part(powers: torch.Tensor, columns: slice, units: torch.Tensor) -> torch.Tensor:
    """(N, B) of a block's columns."""
    return powers[columns.start * len(units) : columns.stop * len(units)].view(len(units), -1)


def _slices(rows: torch.Tensor, like: torch.Tensor) -> Iterator[slice]:
    size = _size(rows, like)
    for start in range(0, len(rows), size):
        yield slice(start, min(start + size, len(rows)))

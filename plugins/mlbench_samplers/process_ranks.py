"""Processes that share the class centres: one process, or the ranks of a torch.distributed group."""

from __future__ import annotations

import torch
from torch import distributed

__all__ = ["ProcessRanks"]


class ProcessRanks:
    """This process among the `size` processes that share the class centres, a contiguous range each.

    group: a torch.distributed process group, or None for the default one. Where torch.distributed is not
    initialised, the size is 1 and nothing is communicated. Made for the backends gloo and NCCL; any works.
    """

    def __init__(self, group: distributed.ProcessGroup | None = None) -> None:
        self.group = group
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank(group) if together else 0
        self.size = distributed.get_world_size(group) if together else 1

    def range_of(self, num_classes: int) -> tuple[int, int]:
        """First class of this rank, and the class after its last."""
        return self.rank * num_classes // self.size, (self.rank + 1) * num_classes // self.size

    def gather(self, numbers: torch.Tensor) -> torch.Tensor:
        """`numbers` of all ranks, (size, *shape). The shape is the same on every rank."""
        if self.size == 1:
            return numbers.unsqueeze(0)
        parts = [torch.empty_like(numbers) for _ in range(self.size)]
        distributed.all_gather(parts, numbers.contiguous(), group=self.group)
        return torch.stack(parts)

    def concatenate(self, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        """Rows of all ranks in the ranks' order, (sum(counts), ...). counts: rows of each rank."""
        if self.size == 1:
            return rows
        # Backends gather equal shapes only, so rows are padded before and cut after.
        filled = rows.new_zeros((max(counts), *rows.shape[1:]))
        filled[: len(rows)] = rows
        parts = self.gather(filled)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.SUM, group=self.group)
        return tensor

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Maximum over the ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=self.group)
        return tensor

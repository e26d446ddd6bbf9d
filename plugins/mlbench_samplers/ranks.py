"""The processes that share the class centres: one, or the ranks of a torch.distributed group."""

from __future__ import annotations

import torch
from torch import distributed

__all__ = ["Ranks"]


class Ranks:
    """This process among `size` that share the class centres, each a contiguous range of them.

    group: a torch.distributed process group, or None for the default one; a process in which
    torch.distributed is not initialised is alone and communicates with no one. Any backend will do (gloo
    and NCCL are meant).
    """

    def __init__(self, group: distributed.ProcessGroup | None = None) -> None:
        self.group = group
        together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank(group) if together else 0
        self.size = distributed.get_world_size(group) if together else 1

    def range_of(self, num_classes: int) -> tuple[int, int]:
        """First class of this rank, and the one after its last."""
        return self.rank * num_classes // self.size, (self.rank + 1) * num_classes // self.size

    def gather(self, numbers: torch.Tensor) -> torch.Tensor:
        """Every rank's `numbers`, of one shape on all: (size, *shape)."""
        if self.size == 1:
            return numbers.unsqueeze(0)
        parts = [torch.empty_like(numbers) for _ in range(self.size)]
        distributed.all_gather(parts, numbers.contiguous(), group=self.group)
        return torch.stack(parts)

    def concatenate(self, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        """The rows of all ranks in their order: (sum(counts), ...). counts: rows of each rank."""
        if self.size == 1:
            return rows
        # Backends gather equal shapes, batches need not be equal: filled up, and cut again.
        filled = rows.new_zeros((max(counts), *rows.shape[1:]))
        filled[: len(rows)] = rows
        parts = self.gather(filled)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add over the ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.SUM, group=self.group)
        return tensor

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Largest over the ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=self.group)
        return tensor

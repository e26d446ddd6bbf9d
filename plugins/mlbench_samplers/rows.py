"""Optimisers of single rows: they read and write the rows of a step, and no others.

A row that takes no part keeps its value and its state to the bit; so momentum and weight decay act on a
row's own steps, not on the steps of the run.

Rows are kept in float32 or in bfloat16. In bfloat16 an update is usually smaller than half the distance to
the next number and rounding to nearest would lose it, so values and state are rounded up or down at random,
right on average (stochastic rounding). A float32 master would mend that too, but as any row may come next
it would have to hold all of them, and then float32 centres are the smaller ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from mlbench_samplers import kernels, pages

__all__ = ["BLOCK_BYTES", "RowAdamW", "RowOptimizer", "RowSGD", "block_rows", "compute_dtype"]

#: Bytes of the rows that are worked on at a time. On a CPU they stay in its cache; a GPU wants enough to do.
BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**27}


def block_rows(width: int, device: torch.device) -> int:
    """Rows of `width` numbers that are worked on at a time."""
    return max(BLOCK_BYTES.get(device.type, 2**27) // (4 * width), 1)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What numbers kept as `dtype` are computed in."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


class RowOptimizer(nn.Module):
    """Updates rows of a matrix; its state is kept in buffers with a row for each of the matrix's."""

    #: Buffers that are as large as the weights.
    moments: tuple[str, ...]

    def step(
        self,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        *,
        scale: torch.Tensor,
        lr: float,
        weight_decay: float,
        noise: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        """Move `rows` of `weights`, in place, by `scale` times their gradient, which is used up.

        weights: (C, R) float32, float64 or bfloat16; rows: (K,) int64, no two alike; gradient: (K, R);
        scale: scalar. noise: for bfloat16, (K,) and (3, R) int32 in [0, 2^16), of which every two
        numbers of a sum are rounded independently.
        """
        if not len(rows):
            return
        if weights.device.type == "cpu" and weights.dtype != torch.bfloat16:
            self._step_fused(weights, rows, gradient, float(scale), lr, weight_decay)
            return
        for part in _blocks(len(rows), block_rows(weights.shape[1], weights.device)):
            chosen = rows[part]
            stored = [weights, *(getattr(self, name) for name in self.moments)]
            values = [tensor.index_select(0, chosen).to(gradient.dtype) for tensor in stored]
            self._formula(chosen, *values, gradient[part].mul_(scale), lr=lr, weight_decay=weight_decay)
            for index, (tensor, value) in enumerate(zip(stored, values, strict=True)):
                if tensor.dtype == torch.bfloat16:
                    assert noise is not None
                    value = _round_randomly(value, noise[0][part].unsqueeze(1) + noise[1][index])
                tensor.index_copy_(0, chosen, value)

    def _formula(
        self,
        rows: torch.Tensor,
        weights: torch.Tensor,
        *values: torch.Tensor,
        lr: float,
        weight_decay: float,
    ) -> None:
        """Update copies of some rows in place. values: their moments, then their gradient."""
        raise NotImplementedError

    def _step_fused(
        self,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        scale: float,
        lr: float,
        weight_decay: float,
    ) -> None:
        """The same on the CPU, in one pass."""
        raise NotImplementedError


class RowSGD(RowOptimizer):
    """SGD with momentum, plain or Nesterov's, of the rows of `weights` (C, R).

    Gives what torch.optim.SGD gives for a matrix of just the rows that took part.
    """

    momentum: torch.Tensor
    moments = ("momentum",)

    def __init__(self, weights: torch.Tensor, *, momentum: float = 0.9, nesterov: bool = False) -> None:
        super().__init__()
        self.mu = momentum
        self.nesterov = nesterov
        self.register_buffer("momentum", _zeros_like(weights))

    def _formula(
        self,
        rows: torch.Tensor,
        weights: torch.Tensor,
        *values: torch.Tensor,
        lr: float,
        weight_decay: float,
    ) -> None:
        momentum, gradient = values
        gradient.add_(weights, alpha=weight_decay)
        momentum.mul_(self.mu).add_(gradient)
        weights.sub_(gradient.add_(momentum, alpha=self.mu) if self.nesterov else momentum, alpha=lr)

    def _step_fused(
        self,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        scale: float,
        lr: float,
        weight_decay: float,
    ) -> None:
        arrays = [tensor.numpy() for tensor in (weights, self.momentum)]
        index, slopes = rows.numpy(), gradient.numpy()
        numbers = [slopes.dtype.type(value) for value in (scale, lr, weight_decay, self.mu)]

        def run(part: slice) -> None:
            kernels.sgd(*arrays, index[part], slopes[part], *numbers, self.nesterov)

        kernels.in_threads(run, len(index))


class RowAdamW(RowOptimizer):
    """AdamW of the rows of `weights` (C, R) (Loshchilov and Hutter, arXiv:1711.05101).

    steps: (C,) int32, how often each row took part: the moments' bias is corrected by the row's own count,
    as the count of the run would make the first update of a row several times too long.
    """

    first: torch.Tensor
    second: torch.Tensor
    steps: torch.Tensor
    moments = ("first", "second")

    def __init__(
        self, weights: torch.Tensor, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__()
        self.betas = betas
        self.eps = eps
        for name in self.moments:
            self.register_buffer(name, _zeros_like(weights))
        self.register_buffer("steps", torch.zeros(len(weights), dtype=torch.int32, device=weights.device))

    def _biases(self, rows: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Count one more step of `rows`; (K,) what the moments still lack."""
        steps = self.steps.index_select(0, rows) + 1
        self.steps.index_copy_(0, rows, steps)
        # 1 - beta ** steps, which float32 would not hold near 1, and float64 is not on every device.
        exponents = (steps.to(torch.promote_types(dtype, torch.float32)) * _log(beta) for beta in self.betas)
        first, second = (-exponent.expm1() for exponent in exponents)
        return first.to(dtype), second.sqrt_().to(dtype)

    def _formula(
        self,
        rows: torch.Tensor,
        weights: torch.Tensor,
        *values: torch.Tensor,
        lr: float,
        weight_decay: float,
    ) -> None:
        first, second, gradient = values
        bias, root = (value.unsqueeze(1) for value in self._biases(rows, gradient.dtype))
        first.mul_(self.betas[0]).add_(gradient, alpha=1 - self.betas[0])
        second.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
        move = torch.sqrt(second, out=gradient).div_(root).add_(self.eps)
        weights.mul_(1 - lr * weight_decay).addcdiv_(first / bias, move, value=-lr)

    def _step_fused(
        self,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        scale: float,
        lr: float,
        weight_decay: float,
    ) -> None:
        bias, root = self._biases(rows, gradient.dtype)
        arrays = [tensor.numpy() for tensor in (weights, self.first, self.second)]
        index, slopes, rates, roots = (tensor.numpy() for tensor in (rows, gradient, lr / bias, root))
        kind = slopes.dtype.type
        before = kind(scale), kind(1 - lr * weight_decay)
        after = [kind(value) for value in (*self.betas, self.eps)]

        def run(part: slice) -> None:
            kernels.adamw(*arrays, index[part], slopes[part], *before, rates[part], roots[part], *after)

        kernels.in_threads(run, len(index))


def _zeros_like(weights: torch.Tensor) -> torch.Tensor:
    return pages.empty(weights.shape, weights.dtype, weights.device).zero_()


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _round_randomly(values: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """float32 to one of the two bfloat16 beside it, the nearer one more often: right on average.

    noise: as `values`, int32; only its low 16 bits count.
    """
    # bfloat16 is the upper half of a float32: adding noise to the lower half carries into it as often as
    # the lower half is large.
    bits = values.view(torch.int32) + (noise & 0xFFFF)
    return (bits & -0x10000).view(torch.float32).to(torch.bfloat16)


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf

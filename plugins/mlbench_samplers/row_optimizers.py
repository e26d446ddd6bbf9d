"""Optimisers that read and write only the rows of a step.

Other rows keep their values and state bit for bit, so momentum and weight decay act in the steps in which a
row takes part, not in all steps of the run.

Rows are stored in float32 or bfloat16. In bfloat16 most updates are smaller than half the distance to the
next number, and rounding to nearest would lose them. Values and state are therefore rounded up or down at
random, so that the mean is exact (stochastic rounding). A float32 master copy would need all rows, as any row
may be sampled next, and then take more memory than float32 centres alone.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import nn

from mlbench_samplers import large_pages

__all__ = ["BLOCK_BYTES", "RowAdamW", "RowOptimizer", "RowSGD"]

#: Bytes of the rows that whole-tensor operations update at a time: few enough for a CPU's cache, many enough
#: for a GPU.
BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**27}

Noise = tuple[torch.Tensor, torch.Tensor] | None


class RowOptimizer(nn.Module):
    """Updates rows of a matrix. Its state is in buffers with one row for each row of the matrix."""

    #: Names of the buffers that have the shape of the weights.
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
        noise: Noise = None,
        loops: ModuleType | None = None,
    ) -> None:
        """Update `rows` of `weights` in place with `scale` times their gradient, which is overwritten.

        weights: (C, R) float32, float64 or bfloat16; rows: (K,) int64, distinct; gradient: (K, R); scale:
        scalar. noise: for bfloat16, (K,) and (3, R) int32 in [0, 2^16), whose exclusive or rounds weights and
        moments. loops: of `find_loops`, which update the rows in one pass over memory.
        """
        if not len(rows):
            return
        if loops is not None:
            self._loop(
                loops, weights, rows, gradient, scale=scale, lr=lr, weight_decay=weight_decay, noise=noise
            )
            return
        size = max(BLOCK_BYTES.get(weights.device.type, 2**27) // (4 * weights.shape[1]), 1)
        for part in (slice(start, start + size) for start in range(0, len(rows), size)):
            chosen = rows[part]
            stored = [weights, *(getattr(self, name) for name in self.moments)]
            values = [tensor.index_select(0, chosen).to(gradient.dtype) for tensor in stored]
            self._formula(chosen, *values, gradient[part].mul_(scale), lr=lr, weight_decay=weight_decay)
            for index, (tensor, value) in enumerate(zip(stored, values, strict=True)):
                if tensor.dtype == torch.bfloat16:
                    assert noise is not None
                    value = _round_randomly(value, noise[0][part].unsqueeze(1) ^ noise[1][index])
                tensor.index_copy_(0, chosen, value)

    def _formula(
        self,
        rows: torch.Tensor,
        weights: torch.Tensor,
        *values: torch.Tensor,
        lr: float,
        weight_decay: float,
    ) -> None:
        """Update copies of some rows in place. values: the rows' moments, then their gradient."""
        raise NotImplementedError

    def _loop(
        self,
        loops: ModuleType,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        *,
        scale: torch.Tensor,
        lr: float,
        weight_decay: float,
        noise: Noise,
    ) -> None:
        """`step` by compiled loops."""
        raise NotImplementedError


class RowSGD(RowOptimizer):
    """SGD with momentum, plain or Nesterov, for rows of `weights` (C, R).

    Equal to torch.optim.SGD on a matrix of only the rows that take part.
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
        torch.add(gradient, momentum, alpha=self.mu, out=momentum)
        weights.sub_(gradient.add_(momentum, alpha=self.mu) if self.nesterov else momentum, alpha=lr)

    def _loop(
        self,
        loops: ModuleType,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        *,
        scale: torch.Tensor,
        lr: float,
        weight_decay: float,
        noise: Noise,
    ) -> None:
        numbers = {"lr": lr, "decay": weight_decay, "mu": self.mu, "nesterov": self.nesterov}
        loops.sgd(weights, self.momentum, rows, gradient, scale=scale, noise=noise, **numbers)


class RowAdamW(RowOptimizer):
    """AdamW for rows of `weights` (C, R) (Loshchilov and Hutter, arXiv:1711.05101).

    steps: (C,) int32, number of updates of each row, which the bias correction of the moments uses: the
    number of steps of the run would make the first update of a row several times too large.
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
        """Count one more step of `rows`; (K,) bias correction of the first moment, and the square root of
        that of the second."""
        steps = self.steps.index_select(0, rows) + 1
        self.steps.index_copy_(0, rows, steps)
        # 1 - beta ** steps by expm1: float32 is too coarse near 1, and some devices have no float64.
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

    def _loop(
        self,
        loops: ModuleType,
        weights: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        *,
        scale: torch.Tensor,
        lr: float,
        weight_decay: float,
        noise: Noise,
    ) -> None:
        bias, root = self._biases(rows, gradient.dtype)
        numbers = {"kept": 1 - lr * weight_decay, "betas": self.betas, "eps": self.eps}
        tensors = (weights, self.first, self.second, rows, gradient, lr / bias, root)
        loops.adamw(*tensors, scale=scale, noise=noise, **numbers)


def _zeros_like(weights: torch.Tensor) -> torch.Tensor:
    return large_pages.empty(weights.shape, weights.dtype, weights.device).zero_()


def _round_randomly(values: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Round float32 to one of the two neighbouring bfloat16 numbers at random, so that the mean is exact.

    values: contiguous, overwritten. noise: int32 in [0, 2^16), in the shape of `values`.
    """
    # bfloat16 is the upper half of a float32. Noise added to the lower half carries into the upper half with
    # a probability in proportion to the lower half.
    bits = values.view(torch.int32).add_(noise).bitwise_and_(-0x10000)
    return bits.view(torch.float32).to(torch.bfloat16)


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf

"""Class centres of which a step reads and writes only the sampled ones (PartialFC)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn
from torch.autograd.function import once_differentiable

from mlbench.plugin import CentreLoss, TrainingError, derive
from mlbench_samplers import large_pages, row_loops
from mlbench_samplers.centre_products import CentreProducts
from mlbench_samplers.centre_rows import compute_dtype
from mlbench_samplers.class_centres import INTEGERS
from mlbench_samplers.class_choice import choose_classes
from mlbench_samplers.process_ranks import ProcessRanks
from mlbench_samplers.row_optimizers import RowOptimizer
from mlbench_samplers.sampled_head import sampled_head
from mlbench_samplers.step_check import StepCheck

__all__ = ["SampledCentres"]


class SampledCentres(nn.Module):
    """Class centres of which each step uses those of the batch and random others, `sampled` in all
    (PartialFC, An et al., arXiv:2010.05222, arXiv:2203.15565), with an optimiser that changes no other row.

    Time of a step, and its memory beyond the centres and their state, grow with `sampled` and not with the
    number of classes: no gradient has the size of the centres, and the choice takes O(sampled) draws.

    centres: (classes of this rank, centres_per_class, dim), drawn from N(0, 0.01^2), with the same initial
    values as `ClassCentres` has; float32, or bfloat16 (see `mlbench_samplers.row_optimizers` on rounding).
    The computation is in float32 (float64 if the module is cast to it), under autocast too: a margin loss
    multiplies cosines by its scale, which makes the rounding errors of half precision too large.

    Gradient clipping and loss scaling apply to the centres' gradient as to any other. `stand_in`, a scalar in
    the model's optimiser, has the norm of the centres' gradient as its gradient; `update` scales the centres'
    gradient by the factor by which that norm was changed. So a case with this sampler differs from a case
    with `all` only in which centres are used.

    Where torch.distributed is initialised, each rank holds a contiguous range of the classes. The ranks'
    batches, of any sizes, form one joint batch, and the softmax is exact over the sampled centres of all
    ranks. Every rank returns the mean loss of the joint batch. The gradients are those of the sum of the
    ranks' results, so averaging them, as DistributedDataParallel does, gives the gradients of one process
    with the joint batch. Wrap the model in DistributedDataParallel, but not this module, whose parameters
    differ between ranks. The choice of classes depends on the joint batch and the seed, not on the number of
    ranks.

    A step of one process waits once for a GPU, at its end; with several ranks also for the sizes of their
    batches and for their shares of the sampled classes.

    Call `forward` and the backward pass once for each `update`.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        centres_per_class: int,
        *,
        sampled: int,
        seed: int,
        optimizer: Callable[[torch.Tensor], RowOptimizer],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        group: distributed.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sampled = sampled
        self.seed = seed
        self.steps = 0
        self.ranks = ProcessRanks(group)
        self.first, self.last = self.ranks.range_of(num_classes)
        centres = large_pages.empty((self.last - self.first, centres_per_class, dim), dtype, device)
        _draw(centres, num_classes, self.first)
        self.centres = nn.Parameter(centres, requires_grad=False)
        self.optimizer = optimizer(centres.flatten(1))
        # In a list, so that it is neither in state_dict nor among the parameters.
        self._stand_in = [nn.Parameter(torch.zeros((), dtype=compute_dtype(dtype), device=device))]
        self._products = CentreProducts()
        self._pending: tuple[torch.Tensor, slice, torch.Tensor, torch.Tensor] | None = None

    @property
    def stand_in(self) -> nn.Parameter:
        """A scalar that represents the centres in the model's optimiser. Its value has no meaning."""
        return self._stand_in[0]

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length; N may differ between ranks and be 0 on some. labels: (N,)
        integers in [0, num_classes). Returns the mean cross entropy over the examples of all ranks, a scalar.

        Raises TrainingError on all ranks, and leaves centres and optimiser state unchanged, for labels that
        are no integers or out of range, for more different labels than sampled centres, and for embeddings, a
        loss or a gradient that are not finite.
        """
        module = loss if isinstance(loss, nn.Module) else nn.Module()
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        result: torch.Tensor = _Head.apply(
            self, loss, labels, torch.is_grad_enabled(), embeddings, self.stand_in, *trained
        )
        return result

    def sample(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes of the next step for the labels (N,) int64 of all ranks: (sampled,) int64, ascending, with
        all labels, if they are no more than `sampled`. Depends on `seed` and on the number of steps before,
        which `state_dict` has."""
        generator = self._generator("centres", labels.device)
        self.steps += 1
        return choose_classes(labels, self.num_classes, self.sampled, generator)

    @torch.no_grad()
    def update(self, lr: float, weight_decay: float) -> None:
        """Update the centres of the last step, after its backward pass."""
        assert self._pending is not None
        assert self.stand_in.grad is not None
        rows, chosen, gradient, norm = self._pending
        self._pending = None
        # The factor by which the loss's weight, loss scaling and clipping changed the norm.
        scale = (self.stand_in.grad / norm).masked_fill_(norm <= 0, 0)
        centres = self.centres.data.flatten(1)
        width = centres.shape[1]
        self.optimizer.step(
            centres,
            rows,
            gradient.view(-1, width),
            scale=scale,
            lr=lr,
            weight_decay=weight_decay,
            noise=self._noise(chosen, width) if self.centres.dtype == torch.bfloat16 else None,
            loops=row_loops.find_loops(centres),
        )

    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor(self.steps)

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.steps = int(state)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> SampledCentres:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.stand_in.data = fn(self.stand_in.data)
        self._products = CentreProducts()
        self._pending = None
        return self

    def _generator(self, name: str, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(derive(self.seed, name, self.steps))

    def _noise(self, chosen: slice, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise to round the rows of the classes `chosen` of the sampled ones (see `RowOptimizer.step`)."""
        device = self.centres.device
        generator = self._generator("rounding", device)
        of_rows, of_columns = (
            torch.randint(2**16, size, generator=generator, dtype=torch.int32, device=device)
            for size in ((self.sampled,), (3, width))
        )
        return of_rows[chosen], of_columns

    def _joint_batch(
        self, embeddings: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Embeddings and labels of all ranks, and the number of each rank's examples. Raises TrainingError
        for labels that are no integers."""
        facts = [[len(labels), labels.dtype in INTEGERS]]
        if self.ranks.size > 1:
            # Gathered before any rank raises, so that all ranks raise and none waits for another.
            facts = self.ranks.gather(torch.tensor(facts[0], device=embeddings.device)).tolist()
        counts = [count for count, _ in facts]
        check = StepCheck(self.steps + 1, self.num_classes, self.sampled, counts)
        for rank, (_, integers) in enumerate(facts):
            if not integers:
                kind = f" are {labels.dtype}" if rank == self.ranks.rank else " are no integers"
                raise TrainingError(f"{check.where(rank)}: labels{kind}; expected integers")
        return (
            self.ranks.concatenate(embeddings.to(compute_dtype(self.centres.dtype)), counts),
            self.ranks.concatenate(labels.long(), counts),
            counts,
        )

    def _step(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        loss: CentreLoss,
        trained: tuple[torch.Tensor, ...],
        wanted: bool,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The loss and, if `wanted`, its gradients by `embeddings`, `stand_in` and `trained`.

        Loss and gradients are computed together: the loss is a scalar, so the backward pass only multiplies.
        Of the tensors as large as the sampled rows only the gradient is kept. The ranks communicate here, not
        during the backward pass of a model, when DistributedDataParallel communicates.

        In one process nothing waits for a GPU before the check at the end.
        """
        embeddings, labels, counts = self._joint_batch(embeddings, labels)
        classes = self.sample(labels)
        columns = torch.searchsorted(classes, labels).clamp_(max=len(classes) - 1)
        usable = (classes[columns] == labels).all()
        # The sampled classes of this rank as rows of its centres, and the targets' columns among them.
        begin, end = 0, len(classes)
        if self.ranks.size > 1:
            begin, end = torch.searchsorted(classes, classes.new_tensor([self.first, self.last])).tolist()
            # Different models of GPU draw different numbers from one seed.
            sums = self.ranks.gather(classes.sum())
            usable &= (sums == sums[0]).all()
        targets = columns - begin
        targets.masked_fill_((columns < begin) | (columns >= end), -1)

        norms = embeddings.norm(dim=1)
        units = embeddings / norms.clamp_min(1e-12).unsqueeze(1)
        rows = classes[begin:end] - self.first
        head = sampled_head(
            self._products,
            self.centres.data,
            units,
            norms,
            rows,
            targets,
            loss,
            trained=trained,
            ranks=self.ranks,
            wanted=wanted,
        )
        check = StepCheck(self.steps, self.num_classes, self.sampled, counts)
        if head.by_units is None:
            check.refuse(usable, embeddings, labels, head.value)
            return head.value, []
        # The gradient by a unit vector has no component along it; the gradient by the length is separate.
        along = torch.linalg.vecdot(head.by_units, units)
        if head.by_norms is not None:
            along -= head.by_norms * norms
        by_embeddings = head.by_units - units * along.unsqueeze(1)
        by_embeddings /= norms.clamp_min(1e-12).unsqueeze(1)
        assert head.square is not None
        assert head.by_centres is not None
        norm = self.ranks.sum_(head.square).sqrt()
        check.refuse(usable, embeddings, labels, head.value, norm)
        self._pending = rows, slice(begin, end), head.by_centres, norm
        start = sum(counts[: self.ranks.rank])
        own = slice(start, start + counts[self.ranks.rank])
        by_embeddings = self.ranks.sum_(by_embeddings)[own] * self.ranks.size
        return head.value, [
            by_embeddings,
            norm.to(self.stand_in.dtype),
            *(None if by is None else by * self.ranks.size for by in head.by_trained),
        ]


def _draw(centres: torch.Tensor, num_classes: int, first: int) -> None:
    """Fill `centres`, of the classes from `first` on, from N(0, 0.01^2) with the global generator.

    The centres of all `num_classes` are drawn, some at a time, and the others dropped, so that neither the
    values of a class nor later draws depend on the range of this rank.
    """
    start = 0
    while start < num_classes:
        # The last blocks are drawn together, because torch draws fewer than 16 numbers by another method.
        count = 4096 if num_classes - start >= 8192 else num_classes - start
        block = torch.empty((count, *centres.shape[1:]), device=centres.device).normal_(0, 0.01)
        begin, end = max(first - start, 0), min(first + len(centres) - start, count)
        if begin < end:
            centres[start + begin - first : start + end - first] = block[begin:end]
        start += count


class _Head(torch.autograd.Function):
    """The loss, with the gradients that were computed together with it."""

    @staticmethod
    def forward(
        ctx: Any,
        sampler: SampledCentres,
        loss: CentreLoss,
        labels: torch.Tensor,
        wanted: bool,
        embeddings: torch.Tensor,
        stand_in: torch.Tensor,
        *trained: torch.Tensor,
    ) -> torch.Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            value, gradients = sampler._step(embeddings.detach(), labels, loss, trained, wanted)
        ctx.gradients = gradients
        ctx.dtypes = [tensor.dtype for tensor in (embeddings, stand_in, *trained)]
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # Multiplied before the cast: small gradients would underflow in half precision.
        scaled = (
            None if by is None else (slope * by).to(dtype)
            for by, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return None, None, None, None, *scaled

"""PartialFC: class centres of any number, of which a step reads and writes only a few."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import distributed, nn
from torch.autograd.function import once_differentiable

from mlbench.contracts import CentreLoss
from mlbench.errors import TrainingError
from mlbench.seeding import numpy_generator
from mlbench_samplers import pages
from mlbench_samplers.choice import choose_classes
from mlbench_samplers.class_centres import INTEGERS
from mlbench_samplers.cross_entropy import cross_entropy
from mlbench_samplers.ranks import Ranks
from mlbench_samplers.rows import RowOptimizer, block_rows, compute_dtype

__all__ = ["PartialFC"]


class PartialFC(nn.Module):
    """The batch's own class centres and random others, `sampled` in all (An et al., arXiv:2010.05222,
    arXiv:2203.15565), with an optimiser of their own that touches no other row.

    What a step costs, in time and in memory beyond the centres and their state, follows `sampled` and not
    the number of classes: there is no gradient as large as the centres, and choosing the others takes
    O(sampled) draws.

    centres: (own classes, centres_per_class, dim), drawn from N(0, 0.01^2) as those of `ClassCentres` are,
    so that the two start alike; float32, or bfloat16 (see `mlbench_samplers.rows` on rounding). They are
    computed with in float32 (float64 if the module is cast to it), under autocast too: a cosine in half
    precision is off by more than a margin loss can bear once it is multiplied by its scale.

    Their gradient takes part in clipping and in loss scaling like any other: `stand_in` is a scalar that
    joins the model's optimiser, whose gradient is the norm of the centres' gradient; what clipping and
    scaling make of it, `update` does to theirs. So a case with this sampler differs from one with `all` in
    the sampled centres alone.

    Where torch.distributed is initialised, each of its ranks holds a contiguous range of the classes, and
    batches of any sizes meet: the softmax runs over the sampled centres of all ranks, exactly. Every rank
    returns the mean loss of the examples of all; gradients are those of the sum over the ranks of what they
    return, so that averaging them, as DistributedDataParallel does, gives what one process would have had
    with the joint batch. Wrap the model in it, and not this module: its parameters differ between ranks.
    All ranks choose the same classes from the joint batch and the seed, whatever their number.

    One `forward` and one backward pass for each `update`.
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
        self.ranks = Ranks(group)
        self.first, self.last = self.ranks.range_of(num_classes)
        centres = pages.empty((self.last - self.first, centres_per_class, dim), dtype, device)
        _draw(centres, num_classes, self.first)
        self.centres = nn.Parameter(centres, requires_grad=False)
        self.optimizer = optimizer(centres.flatten(1))
        # In a list: it is no state, and no weight to be counted.
        self._stand_in = [nn.Parameter(torch.zeros((), dtype=compute_dtype(dtype), device=device))]
        self._memory: dict[str, torch.Tensor] = {}
        self._pending: tuple[torch.Tensor, slice, torch.Tensor, torch.Tensor] | None = None

    @property
    def stand_in(self) -> nn.Parameter:
        """A scalar for the model's optimiser, in the centres' stead. Its value means nothing."""
        return self._stand_in[0]

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length, N may differ between ranks and be 0 on some; labels: (N,)
        integers in [0, num_classes). Returns the mean cross entropy over all ranks' examples, a scalar.

        Raises TrainingError, on all ranks alike and with everything as the last step left it, for labels
        that are no integers or out of range, for more different labels than sampled centres, and for
        embeddings, a loss or a gradient that are not finite.
        """
        module = loss if isinstance(loss, nn.Module) else nn.Module()
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        result: torch.Tensor = _Head.apply(
            self, loss, labels, torch.is_grad_enabled(), embeddings, self.stand_in, *trained
        )
        return result

    def sample(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes of the next step for the labels (N,) int64 of all ranks: (sampled,) int64, ascending, all
        labels among them. Depends on `seed` and on how many steps came before; `state_dict` holds those."""
        positives = torch.unique(labels)
        if len(positives) > self.sampled:
            raise TrainingError(
                f"step {self.steps + 1}: the batch holds {len(positives)} different labels, more than the "
                f"{self.sampled} centres of a step; raise the sampler's rate (or centres), or use sampler all"
            )
        generator = numpy_generator(self.seed, "centres", self.steps)
        self.steps += 1
        return choose_classes(positives, self.num_classes, self.sampled, generator)

    @torch.no_grad()
    def update(self, lr: float, weight_decay: float) -> None:
        """Move the centres of the last step by its gradient, after its backward pass."""
        assert self._pending is not None
        assert self.stand_in.grad is not None
        rows, chosen, gradient, norm = self._pending
        self._pending = None
        # What became of the norm's gradient on its way here: the loss's weight, scaling, clipping.
        scale = torch.where(norm > 0, self.stand_in.grad / norm, 0)
        width = self.centres[:1].numel()
        self.optimizer.step(
            self.centres.data.flatten(1),
            rows,
            gradient.view(-1, width),
            scale=scale,
            lr=lr,
            weight_decay=weight_decay,
            noise=self._noise(chosen, width) if self.centres.dtype == torch.bfloat16 else None,
        )

    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor(self.steps)

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.steps = int(state)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> PartialFC:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.stand_in.data = fn(self.stand_in.data)
        self._memory = {}
        self._pending = None
        return self

    def _noise(self, chosen: slice, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise for rounding the rows of the `chosen` among the sampled classes (see `RowOptimizer.step`)."""
        generator = numpy_generator(self.seed, "rounding", self.steps)
        of_rows, of_columns = (
            torch.from_numpy(generator.integers(2**16, size=size, dtype="int32"))
            for size in (self.sampled, (3, width))
        )
        return of_rows[chosen].to(self.centres.device), of_columns.to(self.centres.device)

    def _joint_batch(
        self, embeddings: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, slice]:
        """The embeddings and labels of all ranks, and where this rank's are. Raises TrainingError."""
        low, high = (0, 0)
        integers = labels.dtype in INTEGERS
        if integers and labels.numel():
            low, high = (int(value) for value in labels.aminmax())
        # Told to all before any refuses, so that none waits for a rank that has given up.
        told = torch.tensor([len(labels), integers, low, high], device=embeddings.device)
        everyone = self.ranks.gather(told).tolist()
        for rank, (_, whole, low, high) in enumerate(everyone):
            where = f"step {self.steps + 1}{f', rank {rank}' if self.ranks.size > 1 else ''}"
            if not whole:
                kind = f" are {labels.dtype}" if rank == self.ranks.rank else " are no integers"
                raise TrainingError(f"{where}: labels{kind}; expected integers")
            if low < 0 or high >= self.num_classes:
                raise TrainingError(
                    f"{where}: labels run from {low} to {high}; expected 0 to {self.num_classes - 1}, "
                    f"as there are {self.num_classes} classes"
                )
        counts = [count for count, *_ in everyone]
        start = sum(counts[: self.ranks.rank])
        return (
            self.ranks.concatenate(embeddings.to(compute_dtype(self.centres.dtype)), counts),
            self.ranks.concatenate(labels.long(), counts),
            slice(start, start + len(labels)),
        )

    def _step(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        loss: CentreLoss,
        trained: tuple[torch.Tensor, ...],
        wanted: bool,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The loss, and its gradients by `embeddings`, `stand_in` and `trained` if they are wanted.

        All of it at once, since the loss is a scalar: the backward pass only has to multiply. Nothing as
        large as the sampled rows is kept but their gradient, and the ranks talk here and not amid the
        backward pass of a model, where DistributedDataParallel does.
        """
        embeddings, labels, own = self._joint_batch(embeddings, labels)
        classes = self.sample(labels)
        # The classes of this rank, as rows of its centres, and where among them the targets are.
        begin, end = torch.searchsorted(classes, classes.new_tensor([self.first, self.last])).tolist()
        targets = torch.searchsorted(classes, labels) - begin
        targets[(targets < 0) | (targets >= end - begin)] = -1
        rows = classes[begin:end] - self.first

        norms = embeddings.norm(dim=1)
        units = embeddings / norms.clamp_min(1e-12).unsqueeze(1)
        cosines, inverse = self._cosines(units, rows)
        value, by_norms, by_trained = cross_entropy(
            cosines, targets, norms, loss, trained=trained, ranks=self.ranks, wanted=wanted
        )
        if not wanted:
            self._refuse_infinite(value, embeddings)
            return value, []
        gradient, by_units, square = self._gradients(units, rows, cosines.flatten(1), inverse)
        # A unit vector's gradient has no part along it; the length has a gradient of its own.
        along = torch.linalg.vecdot(by_units, units)
        if by_norms is not None:
            along -= by_norms * norms
        by_embeddings = (by_units - units * along.unsqueeze(1)) / norms.clamp_min(1e-12).unsqueeze(1)
        norm = self.ranks.sum_(square).sqrt()
        self._refuse_infinite(value, embeddings, norm)
        self._pending = rows, slice(begin, end), gradient, norm
        by_embeddings = self.ranks.sum_(by_embeddings)[own] * self.ranks.size
        return value, [
            by_embeddings,
            norm.to(self.stand_in.dtype),
            *(None if by is None else by * self.ranks.size for by in by_trained),
        ]

    def _blocks(self, rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """The centres of `rows`, some at a time: their columns among the cosines, and (B, dim) in the
        precision of the computation. Copied out anew when asked again, which costs less than keeping them."""
        _, each, dim = self.centres.shape
        size = block_rows(each * dim, rows.device)
        stored = self.centres.new_empty((min(size, len(rows)), each, dim))
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            block = torch.index_select(self.centres.data, 0, chosen, out=stored[: len(chosen)])
            columns = slice(start * each, (start + len(chosen)) * each)
            yield columns, block.flatten(0, 1).to(compute_dtype(block.dtype))

    def _cosines(self, units: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, K, centres_per_class) cosines to the centres of `rows`, and (K * centres_per_class,) what
        the centres' lengths divide by."""
        each = self.centres.shape[1]
        cosines = self._reused("cosines", units, len(units), len(rows) * each)
        inverse = units.new_empty(len(rows) * each)
        for columns, block in self._blocks(rows):
            # The products are divided by the lengths, which spares a normalised copy of the centres.
            torch.reciprocal(block.norm(dim=1).clamp_min_(1e-12), out=inverse[columns])
            part = cosines[:, columns]
            torch.mm(units, block.T, out=part)
            part.mul_(inverse[columns]).clamp_(-1, 1)
        return cosines.view(len(units), len(rows), each), inverse

    def _gradients(
        self, units: torch.Tensor, rows: torch.Tensor, by_cosines: torch.Tensor, inverse: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients by the centres of `rows` and by `units`, and the first one's squared norm.

        by_cosines: (N, K * centres_per_class), used up.
        """
        gradient = self._reused("gradient", units, len(inverse), units.shape[1])
        by_units, square = torch.zeros_like(units), units.new_zeros(())
        products = None
        for columns, block in self._blocks(rows):
            slopes = by_cosines[:, columns].mul_(inverse[columns])
            by_units.addmm_(slopes, block)
            part = torch.mm(slopes.T, units, out=gradient[columns])
            # A cosine does not change with the centre's length: nothing remains along the centre.
            # One array for all blocks: new ones would lie scattered in memory and add up.
            products = torch.empty_like(block) if products is None else products
            along = torch.mul(block, part, out=products[: len(part)]).sum(1).mul_(inverse[columns].square())
            part.addcmul_(block, along.unsqueeze(1), value=-1)
            square += part.norm().square()
        return gradient, by_units, square

    def _reused(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Memory of this shape, kept from step to step: getting it anew costs as much as a product."""
        size = math.prod(shape)
        if name not in self._memory or len(self._memory[name]) < size:
            self._memory.pop(name, None)
            self._memory[name] = pages.empty((size,), like.dtype, like.device)
        return self._memory[name][:size].view(shape)

    def _refuse_infinite(self, value: torch.Tensor, embeddings: torch.Tensor, *more: torch.Tensor) -> None:
        """Raise TrainingError unless the loss, and what else there is, is finite."""
        if bool(torch.stack([value, *more]).isfinite().all()):
            return
        what = "gradient of the centres is" if value.isfinite() else f"loss is {value.item()}:"
        if not bool(embeddings.isfinite().all()):
            what = "embeddings are"
        raise TrainingError(
            f"step {self.steps}: the {what} not finite; the weights are as the step before left them; "
            "lower recipe.lr, or set recipe.clip_norm"
        )


def _draw(centres: torch.Tensor, num_classes: int, first: int) -> None:
    """Fill `centres`, those of the classes from `first` on, from N(0, 0.01^2) of the global generator.

    All `num_classes` are drawn, a few at a time, and the others dropped: which classes are held here changes
    neither their numbers nor what is drawn next.
    """
    start = 0
    while start < num_classes:
        # The last few together: torch draws fewer than 16 numbers in another way.
        count = 4096 if num_classes - start >= 8192 else num_classes - start
        block = torch.empty((count, *centres.shape[1:]), device=centres.device).normal_(0, 0.01)
        begin, end = max(first - start, 0), min(first + len(centres) - start, count)
        if begin < end:
            centres[start + begin - first : start + end - first] = block[begin:end]
        start += count


class _Head(torch.autograd.Function):
    """The loss with the gradients that were computed beside it."""

    @staticmethod
    def forward(
        ctx: Any,
        sampler: PartialFC,
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
        # Multiplied first: what loss scaling is there to save would be lost in half precision.
        scaled = (
            None if by is None else (slope * by).to(dtype)
            for by, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return None, None, None, None, *scaled

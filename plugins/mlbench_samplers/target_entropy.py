"""Cross entropy of a loss that changes no logit but the target's, with the products that it needs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from mlbench.plugin import CentreLoss
from mlbench_samplers import row_loops
from mlbench_samplers.centre_products import CentreProducts
from mlbench_samplers.centre_rows import unit_rows
from mlbench_samplers.process_ranks import ProcessRanks

__all__ = ["HeadGradients", "changes_targets_only", "target_entropy"]

#: Scale up to which no power overflows or underflows in float32, nor the sum of 10^10 of them.
_LARGEST_SCALE = 64.0


class HeadGradients(NamedTuple):
    """The mean loss over all examples and its gradients by what this rank computed; None for a gradient that
    was not requested or is 0.

    by_centres: (K, dim), with the square of its norm."""

    value: torch.Tensor
    by_centres: torch.Tensor | None = None
    square: torch.Tensor | None = None
    by_units: torch.Tensor | None = None
    by_norms: torch.Tensor | None = None
    by_trained: tuple[torch.Tensor | None, ...] = ()


def changes_targets_only(loss: CentreLoss) -> bool:
    """Whether `target_entropy` takes this loss."""
    scale = getattr(loss, "scale", None)
    # A class that overrides `logits` alone has the `target_logits` of other logits.
    defined = [kind for kind in type(loss).__mro__ if {"logits", "target_logits"} & vars(kind).keys()]
    return (
        bool(defined)
        and "target_logits" in vars(defined[0])
        and loss.centres_per_class == 1
        and isinstance(scale, float | int)
        and 0 < scale <= _LARGEST_SCALE
    )


def target_entropy(
    products: CentreProducts,
    centres: torch.Tensor,
    units: torch.Tensor,
    norms: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
    loss: Any,
    *,
    trained: tuple[torch.Tensor, ...],
    ranks: ProcessRanks,
    wanted: bool,
) -> HeadGradients:
    """Mean cross entropy and, if `wanted`, its gradients.

    centres, units, rows: as `CentreProducts` takes them; targets, norms: as `CentreLoss.logits` takes them.

    The other logits are `scale` times a cosine, so their exponentials need no highest logit, and the sum over
    the classes is needed only as a factor of each example, which the embeddings take instead of the columns:
    two passes over the sampled centres, and one over the powers beside the products.
    """
    count, here = len(units), targets >= 0
    place = targets.clamp_min(0)
    # The cosine to the target in full precision, whatever the precision of the products.
    nearest = torch.zeros_like(units)
    if len(rows):
        nearest, _ = unit_rows(centres, rows[place], loops=row_loops.find_loops(centres))
    nearest *= here.unsqueeze(1)
    cosines = ranks.sum_(torch.linalg.vecdot(nearest, units)).clamp_(-1, 1)
    with torch.set_grad_enabled(wanted):
        inputs = [tensor.detach().requires_grad_(wanted) for tensor in (cosines, norms)]
        logits = loss.target_logits(*inputs)
    target = logits.detach()

    powers, inverse, total, pull = products.powers(centres, units, rows, targets, float(loss.scale))
    partition = torch.logaddexp(ranks.sum_(total).log(), target)
    value = (partition - target).mean()
    if not wanted:
        return HeadGradients(value)

    by_cosine: torch.Tensor | None = None
    by_norms: torch.Tensor | None = None
    by_trained: tuple[torch.Tensor | None, ...] = (None,) * len(trained)
    if logits.requires_grad:
        # Each target counts on the rank that has it.
        slopes = (target - partition).expm1().mul_(here) / count
        by_cosine, by_norms, *others = torch.autograd.grad(
            logits, [*inputs, *trained], slopes, allow_unused=True
        )
        by_trained = tuple(others)
    by_cosine = torch.zeros_like(cosines) if by_cosine is None else by_cosine
    factors = (-partition).exp() * (float(loss.scale) / count)
    by_units = pull.mul_(factors.unsqueeze(1)).addcmul_(nearest, by_cosine.unsqueeze(1))
    if len(rows):
        # The target's power was 0. Where the target is elsewhere, a power is replaced by itself.
        place = products.place(rows, units, place)
        powers.scatter_(0, place, torch.where(here, by_cosine / factors, powers.gather(0, place)))
    by_centres, square = products.gradient(centres, units * factors.unsqueeze(1), rows, powers, inverse)
    return HeadGradients(value, by_centres, square, by_units, by_norms, by_trained)

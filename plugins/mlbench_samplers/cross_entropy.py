"""Cross entropy of the logits that a loss computes from cosines, over the columns of all ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mlbench.plugin import CentreLoss
from mlbench_samplers.process_ranks import ProcessRanks

__all__ = ["LossAndGradients", "cross_entropy"]

#: Bytes of the cosines whose logits are computed at a time, for a loss that is `per_example`.
_PIECE_BYTES = {"cpu": 2**20, "cuda": 2**27}


class LossAndGradients(NamedTuple):
    """The mean over all examples and its gradients; None for a gradient that was not requested or is 0."""

    value: torch.Tensor
    by_norms: torch.Tensor | None
    by_trained: list[torch.Tensor | None]


class _Logits(NamedTuple):
    """Logits of some examples, the tensors they depend on, and exp(logits - highest)."""

    inputs: list[torch.Tensor]
    logits: torch.Tensor
    powers: torch.Tensor


def cross_entropy(
    cosines: torch.Tensor,
    targets: torch.Tensor,
    norms: torch.Tensor,
    loss: CentreLoss,
    *,
    trained: tuple[torch.Tensor, ...],
    ranks: ProcessRanks,
    wanted: bool,
) -> LossAndGradients:
    """Mean cross entropy and, if `wanted`, its gradients by `norms` and by `trained`, the loss's own
    parameters; `cosines` is then overwritten with the gradient by the cosines.

    cosines, targets, norms: as `CentreLoss.logits` takes them, for this rank's columns and the examples of
    all ranks. A loss that is `per_example` gets a few examples at a time, whose logits fit in a CPU's cache
    and take little of a GPU's memory. Any other loss gets all examples at once.
    """
    count, columns = cosines.shape[:2]
    pieces = _pieces(cosines) if getattr(loss, "per_example", False) else [slice(0, count)]
    # For each example: highest logit and sum of exponentials of this rank's columns, and the target's logit
    # where this rank has it.
    highest, total = torch.full_like(norms, float("-inf")), torch.zeros_like(norms)
    own = torch.zeros_like(norms)
    # Logarithm of the sum of exponentials over all ranks, and the loss.
    partition, losses = torch.empty_like(norms), torch.empty_like(norms)

    scratch = cosines.new_empty((pieces[0].stop, columns))

    def compute(part: slice) -> _Logits:
        with torch.set_grad_enabled(wanted):
            inputs = [tensor[part].detach().requires_grad_(wanted) for tensor in (cosines, norms)]
            logits = loss.logits(inputs[0], targets[part], inputs[1])
        values = logits.detach()
        highest[part] = values.amax(1)
        powers = torch.sub(values, highest[part].unsqueeze(1), out=scratch[: len(values)]).exp_()
        total[part] = powers.sum(1)
        target = values.gather(1, targets[part].clamp_min(0).unsqueeze(1)).squeeze(1)
        own[part] = target.masked_fill(targets[part] < 0, 0)
        return _Logits(inputs, logits, powers)

    def combine(part: slice) -> None:
        common = ranks.max_(highest[part].clone())
        sums = ranks.sum_(torch.stack([total[part] * (highest[part] - common).exp(), own[part]]))
        partition[part] = common + sums[0].log()
        losses[part] = partition[part] - sums[1]

    # With several pieces and ranks, all pieces are computed twice, so that the ranks communicate only once.
    twice = len(pieces) > 1 and ranks.size > 1
    if twice:
        for part in pieces:
            compute(part)
    if twice or not columns:  # no sampled class is on this rank, and a loss need not accept that
        combine(slice(0, count))
    by_norms: torch.Tensor | None = None
    by_trained: list[torch.Tensor | None] = [None] * len(trained)
    for part in pieces if columns else []:
        result = compute(part)
        if not twice:
            combine(part)
        if not wanted:
            continue
        if not result.logits.requires_grad:
            cosines[part] = 0
            continue
        slopes = result.powers.mul_(((highest[part] - partition[part]).exp() / count).unsqueeze(1))
        here = (targets[part] >= 0).to(slopes.dtype).unsqueeze(1)
        slopes.scatter_add_(1, targets[part].clamp_min(0).unsqueeze(1), here / -count)
        gradients = torch.autograd.grad(result.logits, [*result.inputs, *trained], slopes, allow_unused=True)
        cosines[part] = 0 if gradients[0] is None else gradients[0]
        if gradients[1] is not None:
            by_norms = torch.zeros_like(norms) if by_norms is None else by_norms
            by_norms[part] = gradients[1]
        for index, gradient in enumerate(gradients[2:]):
            before = by_trained[index]
            by_trained[index] = gradient if before is None or gradient is None else before + gradient
    return LossAndGradients(losses.mean(), by_norms, by_trained)


def _pieces(cosines: torch.Tensor) -> list[slice]:
    width = cosines[:1].numel() * cosines.element_size()
    size = max(_PIECE_BYTES.get(cosines.device.type, 2**27) // max(width, 1), 1)
    return [slice(start, min(start + size, len(cosines))) for start in range(0, len(cosines), size)]

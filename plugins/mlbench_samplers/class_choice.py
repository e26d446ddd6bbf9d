"""Choice of the classes that take part in a step: those of the batch and random others."""

from __future__ import annotations

import math

import torch

__all__ = ["choose_classes"]

#: Number of classes below which all of them are shuffled.
_FEW = 2048


def choose_classes(
    labels: torch.Tensor, num_classes: int, sampled: int, generator: torch.Generator
) -> torch.Tensor:
    """The classes of `labels` and a uniformly random choice of the others, `sampled` in all.

    labels: (N,) int64 with at most `sampled` different classes; of more, those that come first are taken.
    Labels outside [0, num_classes) count as the nearest class. generator: of the labels' device. Returns
    (sampled,) int64, ascending. Draws and sorts O(sampled + N) numbers. No shape depends on a value, so a GPU
    computes the choice without a wait. The choice depends only on the arguments, so processes with the same
    batch, seed and kind of device choose the same classes without communication.

    The choice is the first `sampled` different classes of a sequence: the labels, then random draws. By
    symmetry all sets of other classes are equally likely.
    """
    labels, device = labels.clamp(0, num_classes - 1), labels.device
    # Half the bytes to sort where the classes allow it.
    dtype = torch.int32 if num_classes < 2**31 else torch.int64
    if num_classes < _FEW or 2 * sampled > num_classes:
        draws = torch.randperm(num_classes, generator=generator, dtype=dtype, device=device)
    else:
        # The draws that give `sampled` different classes on average, and more by over 13 times the standard
        # deviation of that number, as less than half of the classes are sampled.
        average = -num_classes * math.log1p(-sampled / num_classes)
        count = math.ceil(average + 9 * math.sqrt(average)) + 16
        draws = torch.randint(num_classes, (count,), generator=generator, dtype=dtype, device=device)
    values, order = torch.cat([labels.to(dtype), draws]).sort(stable=True)
    # Where each class comes first in the sequence, and how many different classes there are up to there.
    new = torch.ones_like(values, dtype=torch.bool)
    torch.ne(values[1:], values[:-1], out=new[1:])
    first = torch.empty_like(new).scatter_(0, order, new)
    taken = first.logical_and_(first.cumsum(0) <= sampled).gather(0, order)
    # Their places in the result. What is not taken is written behind it.
    places = (taken.cumsum(0) - 1).masked_fill_(taken.logical_not(), sampled)
    result = labels.new_zeros(sampled + 1)
    return result.scatter_(0, places, values.long())[:sampled]

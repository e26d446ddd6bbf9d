"""Choice of the classes that take part in a step: those of the batch and random others."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["choose_classes", "subset"]


def choose_classes(
    positives: torch.Tensor, num_classes: int, sampled: int, generator: np.random.Generator
) -> torch.Tensor:
    """`positives` and a uniformly random choice of the other classes, `sampled` in all.

    positives: (P,) int64, ascending, without repetition, in [0, num_classes), P <= sampled. Returns
    (sampled,) int64, ascending, on the positives' device. Draws and sorts O(sampled) numbers; allocates
    num_classes numbers only where more than half of the classes are sampled. The choice depends only on the
    arguments, so processes with the same batch and seed choose the same classes without communication.
    """
    count = len(positives)
    others = subset(num_classes - count, sampled - count, generator, positives.device)
    # The v-th class that is not positive follows every positive that has at most v of them before it.
    gaps = positives - torch.arange(count, device=positives.device)
    others += torch.searchsorted(gaps, others, right=True)
    return torch.cat([positives, others]).sort().values


def subset(
    count: int, size: int, generator: np.random.Generator, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """A uniformly random subset of range(count): (size,) int64, ascending.

    Draws with replacement until there are at least `size` different numbers. All sets of the resulting size
    are equally likely, so dropping a random subset of the surplus leaves a uniform choice.
    """
    if size > count // 2:
        rest = torch.ones(count, dtype=torch.bool, device=device)
        rest[subset(count, count - size, generator, device)] = False
        return rest.nonzero().flatten()
    found = torch.empty(0, dtype=torch.int64, device=device)
    while len(found) < size:
        missing = size - len(found)
        # The draws that give `missing` new numbers on average, and a few more, so that one round is enough.
        draws = -count * math.log1p(-missing / (count - len(found)))
        drawn = generator.integers(count, size=math.ceil(draws + 4 * math.sqrt(draws)) + 1)
        found = torch.unique(torch.cat([found, torch.from_numpy(drawn).to(device)]))
    surplus = len(found) - size
    if surplus:
        dropped = generator.choice(len(found), surplus, replace=False, shuffle=False)
        keep = torch.ones(len(found), dtype=torch.bool, device=device)
        keep[torch.from_numpy(dropped).to(device)] = False
        found = found[keep]
    return found

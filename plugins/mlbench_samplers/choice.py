"""Which classes take part in a step: the batch's own and a uniformly random choice of the others."""

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
    (sampled,) int64, ascending, on the positives' device. Draws O(sampled) numbers and sorts them; nothing
    is as long as all classes, unless more than half of them are sampled. The choice depends on nothing but
    the arguments, so processes that share a batch and a seed choose alike without a word.
    """
    count = len(positives)
    others = subset(num_classes - count, sampled - count, generator, positives.device)
    # The v-th class that is no positive lies behind those positives that have at most v such before them.
    gaps = positives - torch.arange(count, device=positives.device)
    others += torch.searchsorted(gaps, others, right=True)
    return torch.cat([positives, others]).sort().values


def subset(
    count: int, size: int, generator: np.random.Generator, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """A uniformly random subset of range(count): (size,) int64, ascending.

    Draws with replacement until there are `size` different numbers. Given how many there are, every set of
    so many is equally likely, so dropping a random subset of the surplus leaves a uniform choice.
    """
    if size > count // 2:
        rest = torch.ones(count, dtype=torch.bool, device=device)
        rest[subset(count, count - size, generator, device)] = False
        return rest.nonzero().flatten()
    found = torch.empty(0, dtype=torch.int64, device=device)
    while len(found) < size:
        missing = size - len(found)
        # As many draws as give that many new numbers on average, and a few more, to be done at once.
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

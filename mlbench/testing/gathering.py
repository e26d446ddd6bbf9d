"""Checks of losses on batches that several processes gather."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from unittest import SkipTest

import torch
from torch import nn

from mlbench.contracts import CentreLoss
from mlbench.seeding import torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.finite import expect_finite
from mlbench.testing.loss import Trial

__all__ = ["CHECKS"]

_RANKS = 2


@contextmanager
def _rank(rank: int) -> Iterator[None]:
    """Environment variables that torchrun sets for a process."""
    given = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(_RANKS)}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _values(subject: Subject, own: Collection[int]) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Value of the loss, and its gradients: of the embeddings of the ranks `own`, then of its trained
    parameters."""
    trial = Trial(subject, torch_seed(0, "loss"))
    if isinstance(trial.loss, CentreLoss):
        raise SkipTest(f"{subject} has class centres, which a sampler gathers")
    parts = [part.clone() for part in trial.embeddings.detach().chunk(_RANKS)]
    for at, part in enumerate(parts):
        part.requires_grad_(at in own)
    parameters = list(trial.loss.parameters()) if isinstance(trial.loss, nn.Module) else []
    with torch_seed(0, "gathered"):
        value = trial.value(torch.cat(parts), trial.labels)
    leaves = [each for each in (*parts, *parameters) if each.requires_grad]
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return value.detach(), list(gradients)


def gathered_batch_has_the_same_loss(subject: Subject) -> None:
    """Two ranks gather their embeddings, in order, and each has gradients for its own half alone. Value and
    gradients are those of one process with the whole batch."""
    whole, gradients = _values(subject, range(_RANKS))
    expect_finite("the loss", whole)
    expect_finite("a gradient of the loss", gradients)
    shared = gradients[_RANKS:]
    for rank in range(_RANKS):
        with _rank(rank):
            value, own = _values(subject, [rank])
        expect(
            torch.allclose(value, whole, rtol=1e-4, atol=1e-6),
            f"the loss of the gathered batch on rank {rank} is {float(value):g}, and {float(whole):g} in one "
            "process; compute it from embeddings and labels alone, not from the rank (RANK, "
            "torch.distributed) or from which embeddings require gradients",
        )
        for wanted, found in zip([gradients[rank], *shared], own, strict=True):
            same = (found is None) == (wanted is None)
            if wanted is not None and found is not None:
                same = torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)
            expect(
                same,
                f"the gradient of rank {rank} on a gathered batch differs from that in one process; compute "
                "it from embeddings and labels alone, without the number of ranks",
            )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "loss": (gathered_batch_has_the_same_loss,),
}

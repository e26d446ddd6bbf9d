"""Training: losses, class centres, teachers, batches, recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

__all__ = [
    "BatchSampler",
    "CentreLoss",
    "CentreSampler",
    "Distiller",
    "MixedLoss",
    "PairLoss",
    "RowSampler",
]


@runtime_checkable
class PairLoss(Protocol):
    """A loss on a batch of embeddings, with no class centres. May be a torch.nn.Module."""

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float; labels: (N,) int64. Returns a scalar."""
        ...


@runtime_checkable
class MixedLoss(Protocol):
    """A loss that takes images mixed of two (see `Mixing`). A `CentreLoss` need not: its cross entropy is
    linear in the labels, so that mlbench mixes the losses of both. It then asks twice in a step, the second
    time, for the labels with the smaller share, in evaluation mode: what a loss learns by itself, such as
    running statistics, it must learn in training mode alone."""

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """embeddings: (N, D) float; labels, others: (N,) int64, of the image itself and of the one mixed in;
        share: of the first, in [0, 1]. Returns a scalar."""
        ...


@runtime_checkable
class CentreLoss(Protocol):
    """A loss with class centres: cosines in, logits out.

    The centres belong to the sampler, which computes cosines to the centres that take part in the step
    and, from the logits, the cross entropy. So every such loss runs with every sampler.

    A loss may have an attribute `per_example`, true when the logits of an example depend on nothing but
    that example's cosines, target and norm, and asking twice gives the same (no batch statistics, no
    draws). A sampler may then ask for a few examples at a time, which saves time and memory.
    """

    centres_per_class: int

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, centres_per_class) float in [-1, 1] to the centres of K classes; targets: (N,)
        int64, the target's column, or -1 where it is not among the K; norms: (N,) float, lengths of the
        embeddings before normalisation. Returns logits (N, K)."""
        ...


class CentreSampler(Protocol):
    """Owns the class centres. A torch.nn.Module; its parameters join the optimiser, without weight decay
    exceptions of their own, at the recipe's centre_lr. One that is a `RowSampler` too updates them
    itself."""

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64 in [0, num_classes).
        Returns the scalar loss."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The centres, and whatever else is trained with them."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """What a checkpoint keeps."""
        ...


@runtime_checkable
class RowSampler(CentreSampler, Protocol):
    """A `CentreSampler` that owns the optimiser of its centres too, as it must where they are too many to
    be touched in every step.

    stand_in: a scalar that joins the optimiser in the centres' stead. The backward pass makes its gradient
    the norm of the centres' gradient, so that clipping and loss scaling take them into account; what these
    make of it, `update` does to the centres' gradient. Its value means nothing.
    """

    @property
    def stand_in(self) -> nn.Parameter: ...

    def update(self, lr: float, weight_decay: float) -> None:
        """Move the centres by the gradient of the last backward pass. Called after each step that the
        optimiser took (loss scaling may skip one), with the group's values at that step."""
        ...


class Distiller(Protocol):
    """How far embeddings are from those of a frozen teacher. A torch.nn.Module; what it has to train, such as
    a projection to the teacher's width, is no part of the deployed model.

    images: whose embeddings are compared: "clean" has the model see each image of the batch without
    augmentation as well, and the teacher the same image at its own size; "augmented" compares embeddings of
    the batch as it is, and the teacher sees the same pixels. weight: what the distance is multiplied by
    before it joins the loss; 0 changes nothing but what the model sees.
    """

    images: Literal["clean", "augmented"]
    weight: float

    def __call__(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; targets: (N, T) float, the teacher's, any length. Returns
        the distance, a scalar, without the weight."""
        ...


class BatchSampler(Protocol):
    """Which images make up the batches of an epoch.

    An image that comes again in an epoch is augmented anew. A sampler may have an attribute `notes`, a
    sequence of lines on what became of the images, which are read after training.
    """

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        ...

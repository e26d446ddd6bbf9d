"""Training: losses, class centres, teachers, batches, recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    "RegularisedLoss",
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
    """A loss for mixed images (see `Mixing`). A `CentreLoss` does not need it: cross entropy is linear in the
    labels, so mlbench mixes the losses of the two labels. It then calls `logits` twice in a step, the second
    time, for the label with the smaller share, in evaluation mode; so a loss updates running statistics in
    training mode only."""

    def mixed(
        self, embeddings: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, share: float
    ) -> torch.Tensor:
        """embeddings: (N, D) float; labels, others: (N,) int64, of each image and of the image mixed into it;
        share: weight of the first, in [0, 1]. Returns a scalar."""
        ...


@runtime_checkable
class CentreLoss(Protocol):
    """A loss with class centres: cosines in, logits out.

    The sampler owns the centres. It computes the cosines to the centres of the step and, from the logits, the
    cross entropy. So every such loss runs with every sampler.

    A loss may have an attribute `per_example`, true when the logits of an example depend only on that
    example's cosines, target and norm, without batch statistics or random draws. A sampler may then pass a
    few examples at a time, which saves time and memory.

    A loss with one centre for each class whose logits are `scale` times the cosine for all classes but the
    target may have that number, and a method `target_logits(cosines, norms)`: cosines (N,) to the targets in,
    the targets' logits (N,) out. A sampler may then call it instead of `logits`, which saves passes over the
    cosines."""

    @property
    def centres_per_class(self) -> int: ...

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, centres_per_class) float in [-1, 1] to the centres of K classes; targets: (N,)
        int64, the target's column, or -1 where the target is not among the K; norms: (N,) float, lengths of
        the embeddings before normalisation. Returns logits (N, K)."""
        ...


@runtime_checkable
class RegularisedLoss(Protocol):
    """A loss, with or without class centres, with further terms that depend on the embeddings alone, such as
    a term of their lengths. mlbench adds them to the loss once a step, whatever the sampler and the mixing,
    and records the mean of each in every epoch by its name. A term that depends on the labels is a loss of
    its own (see `losses` of a suite)."""

    def regularisers(self, embeddings: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """embeddings: (N, D) float32 (float64 of a model in float64), any length, outside autocast. Returns
        scalars by name, with their factors; the same names in every step."""
        ...


class CentreSampler(Protocol):
    """Owner of the class centres. A torch.nn.Module; its parameters join the optimiser at the recipe's
    centre_lr with the recipe's weight decay. A `RowSampler` updates them itself.

    It computes cosines and cross entropy in float32 at least, under autocast too: a margin loss multiplies
    cosines by its scale. Draws of a step depend on the context's seed and on what is in its state alone, such
    as `torch_generator(seed, step)` with the number of the step in a buffer."""

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64 in [0, num_classes).
        Returns the scalar loss."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The centres, and anything else that is trained with them."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """State for a checkpoint."""
        ...


@runtime_checkable
class RowSampler(CentreSampler, Protocol):
    """A `CentreSampler` with its own optimiser, for too many centres to update all in a step.

    stand_in: a scalar parameter that joins the optimiser in place of the centres. The backward pass sets its
    gradient to the norm of the centres' gradient, so clipping and loss scaling include the centres; `update`
    scales the centres' gradient as they scaled this one. Its value has no meaning."""

    @property
    def stand_in(self) -> nn.Parameter: ...

    def update(self, lr: float, weight_decay: float) -> None:
        """Update the centres with the gradient of the last backward pass. Called after each step of the
        optimiser (loss scaling may skip one), with the rate and decay of that step."""
        ...


class Distiller(Protocol):
    """Distance between embeddings and those of a frozen teacher. A torch.nn.Module; its own parameters, such
    as a projection to the teacher's width, are no part of the deployed model.

    images: which embeddings are compared. "clean": each image of the batch goes through the model a second
    time, without augmentation, and through the teacher at the teacher's size. "augmented": the embeddings of
    the batch itself, and the teacher gets the same pixels. weight: factor of the distance in the loss; with 0
    the model still gets the same images."""

    images: Literal["clean", "augmented"]
    weight: float

    def __call__(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float, any length; targets: (N, T) float, the teacher's, any length. Returns
        the distance, a scalar, without the weight."""
        ...


class BatchSampler(Protocol):
    """Batches of an epoch, by image index.

    An image that is repeated within an epoch gets another augmentation. A sampler may have an attribute
    `notes`, lines about the batches, which is read after training.

    A sampler whose epochs depend on earlier ones has `state_dict()`, which returns plain data and tensors,
    and `load_state_dict(state)`, so that an interrupted training can go on; its notes are a part of it."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def batches(self, generator: np.random.Generator) -> Iterator[Sequence[int] | np.ndarray]:
        """Indices of each batch of one epoch: a sequence of int, or an integer array with one dimension."""
        ...

"""The objective of training: from the inputs of a batch to the one number that is made small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlbench.contracts import CentreLoss, CentreSampler, Distiller, MixedLoss, PairLoss, RowSampler
from mlbench.contracts.options import DistillerContext, LossContext, SamplerContext
from mlbench.errors import ComponentError
from mlbench.planning.plan import Case, check_sampler
from mlbench.seeding import derive, torch_seed
from mlbench.training.model import EmbeddingModel, Teacher

__all__ = ["Batch", "Objective", "Term", "build_losses", "build_objective"]


@dataclass(frozen=True)
class Batch:
    """What the objective sees of N images.

    inputs: what `EmbeddingModel.encode` gives; labels: (N,) int64. others, share: labels of the images that
    were mixed in and the share of the images' own, None where nothing was mixed. clean: inputs of the same
    images without augmentation, where a distiller compares those. targets: (N, T) float, the teacher's.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor | None = None
    share: float = 1.0
    clean: torch.Tensor | None = None
    targets: torch.Tensor | None = None

    @property
    def images(self) -> torch.Tensor:
        """All that goes through the model: the inputs, then those without augmentation."""
        return self.inputs if self.clean is None else torch.cat([self.inputs, self.clean])


class Term(nn.Module):
    """One loss, with its class centres if it has any, and its weight."""

    def __init__(
        self, name: str, loss: CentreLoss | PairLoss, centres: CentreSampler | None, weight: float
    ) -> None:
        super().__init__()
        self.name = name
        self.loss = loss
        self.centres = centres
        self.weight = weight

    def forward(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """embeddings: (N, D) float. Returns the loss, a scalar, without the weight."""
        if batch.others is None:
            return self._of(embeddings, batch.labels)
        if isinstance(self.loss, MixedLoss):
            return self.loss.mixed(embeddings, batch.labels, batch.others, batch.share)
        # Cross entropy is linear in the labels. A loss's running statistics move once a step: by the labels
        # with the larger share.
        shares = [(batch.share, batch.labels), (1 - batch.share, batch.others)]
        (more, labels), (less, others) = sorted(shares, key=lambda each: each[0], reverse=True)
        main = self._of(embeddings, labels)
        with _evaluating(self.loss):
            return more * main + less * self._of(embeddings, others)

    def _of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.centres is None:
            return self.loss(embeddings, labels)  # type: ignore[operator]
        return self.centres(embeddings, labels, self.loss)  # type: ignore[arg-type]


class Objective(nn.Module):
    """The model, the weighted sum of losses, and the distance to a teacher if there is one."""

    def __init__(self, model: EmbeddingModel, terms: list[Term], distiller: Distiller | None = None) -> None:
        super().__init__()
        self.model = model
        self.terms = nn.ModuleList(terms)
        self.distiller = distiller

    def forward(self, batch: Batch) -> torch.Tensor:
        """The scalar that training makes small."""
        return self.loss(self.model.embed(batch.images), batch)

    def loss(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The same from the embeddings of `batch.images`."""
        count = len(batch.labels)
        terms: Any = self.terms
        total = sum(
            (term(embeddings[:count], batch) * term.weight for term in terms), embeddings.new_zeros(())
        )
        if self.distiller is not None:
            assert batch.targets is not None
            seen = embeddings if batch.clean is None else embeddings[count:]
            total = total + self.distiller(seen, batch.targets) * self.distiller.weight
        return total

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the model."""
        terms: Any = self.terms
        return {
            "losses": {
                term.name: {"loss": _state(term.loss), "centres": _state(term.centres)} for term in terms
            },
            "distiller": _state(self.distiller),
        }


def build_losses(case: Case, dim: int) -> dict[str, CentreLoss | PairLoss]:
    """The losses of a case by name, for embeddings of `dim` numbers.

    Raises ComponentError when one has class centres and the case no sampler, or cannot take mixed images and
    the case mixes them.
    """
    losses = {}
    for name, chosen in case.spec.losses.items():
        with torch_seed(case.seed, "loss", name):
            loss = chosen.part.component.build(LossContext(case.forecast.classes, dim))
        if isinstance(loss, CentreLoss):
            check_sampler(case.spec.parts, chosen.part)
        elif "mixing" in case.spec.parts and not isinstance(loss, MixedLoss):
            raise ComponentError(
                f"{chosen.part.entry} compares images by their labels and cannot take mixed ones; "
                "set mixing: null, or choose a loss with class centres"
            )
        losses[name] = loss
    return losses


def build_objective(case: Case, model: EmbeddingModel, teacher: Teacher | None = None) -> Objective:
    """The objective of a case around its model. Raises ComponentError as `build_losses` does."""
    terms = []
    for name, loss in build_losses(case, model.neck.dim).items():
        centres = _build_centres(case, model, loss, name) if isinstance(loss, CentreLoss) else None
        if isinstance(centres, RowSampler) and "mixing" in case.spec.parts:
            raise ComponentError(
                f"{case.spec.parts['sampler'].entry} moves its centres by one label an image and cannot take "
                "mixed images; set sampler: all, or mixing: null"
            )
        terms.append(Term(name, loss, centres, case.spec.losses[name].weight))
    distiller = None
    if teacher is not None:
        with torch_seed(case.seed, "distiller"):
            context = DistillerContext(model.neck.dim, teacher.dim)
            distiller = case.spec.parts["distiller"].component.build(context)
    return Objective(model, terms, distiller)


def _build_centres(case: Case, model: EmbeddingModel, loss: CentreLoss, name: str) -> CentreSampler:
    # The only loss draws as it did before there could be several.
    path = () if len(case.spec.losses) == 1 else (name,)
    with torch_seed(case.seed, "centres", *path):
        context = SamplerContext(
            num_classes=case.forecast.classes,
            dim=model.neck.dim,
            centres_per_class=loss.centres_per_class,
            batch_size=case.recipe.batch_size,
            batch_labels=case.forecast.batch_labels,
            seed=derive(case.seed, "sampler", *path),
        )
        centres: CentreSampler = case.spec.parts["sampler"].component.build(context)
    return centres


@contextmanager
def _evaluating(loss: Any) -> Iterator[None]:
    """A loss that is a module is in evaluation mode inside the block."""
    if not isinstance(loss, nn.Module):
        yield
        return
    before = loss.training
    loss.eval()
    try:
        yield
    finally:
        loss.train(before)


def _state(part: Any) -> dict[str, torch.Tensor]:
    return part.state_dict() if isinstance(part, nn.Module) else {}

"""The objective of training: a weighted sum of losses, and the distance to a teacher if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlbench.contracts import (
    CentreLoss,
    CentreSampler,
    Distiller,
    MixedLoss,
    PairLoss,
    RegularisedLoss,
    RowSampler,
)
from mlbench.contracts.options import DistillerContext, LossContext, SamplerContext
from mlbench.errors import ComponentError
from mlbench.planning.plan import Case, check_sampler
from mlbench.planning.spec import Part, WeightedLoss
from mlbench.records.widths import at_width
from mlbench.seeding import derive, torch_seed
from mlbench.training.contract_checks import check_built
from mlbench.training.model import EmbeddingModel, Teacher

__all__ = ["Batch", "Objective", "Term", "build_distiller", "build_objective", "build_terms"]


@dataclass(frozen=True)
class Batch:
    """A training batch of N images.

    inputs: as `EmbeddingModel.encode` returns them; labels: (N,) int64. others: labels of the images that
    were mixed in, None without mixing; share: of each image itself. clean: inputs of the same images without
    augmentation, where a distiller compares those. targets: (N, T) float, the teacher's embeddings.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor | None = None
    share: float = 1.0
    clean: torch.Tensor | None = None
    targets: torch.Tensor | None = None

    @property
    def images(self) -> torch.Tensor:
        """Everything that the model embeds: the inputs, then those without augmentation."""
        return self.inputs if self.clean is None else torch.cat([self.inputs, self.clean])


class _Regularisers(nn.Module):
    """Further terms of a loss. A module, so that its results can be checked by hooks."""

    def __init__(self, loss: CentreLoss | PairLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: torch.Tensor) -> Mapping[str, torch.Tensor]:
        if not isinstance(self.loss, RegularisedLoss):
            return {}
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.loss.regularisers(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))


class Term(nn.Module):
    """One loss on the first `width` numbers of the embeddings, with its class centres if it has any, and its
    weight in the sum. part: the component that the loss was built from. regularisers: further terms of the
    loss by name, from embeddings (N, width) float: scalars without the weight."""

    def __init__(
        self,
        name: str,
        part: Part,
        loss: CentreLoss | PairLoss,
        centres: CentreSampler | None,
        weight: float,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.part = part
        self.loss = loss
        self.regularisers = _Regularisers(loss)
        self.centres = centres
        self.weight = weight
        self.width = width

    def forward(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """embeddings: (N, width) float. Returns the loss, a scalar, without weight and regularisers."""
        if batch.others is None:
            return self._of(embeddings, batch.labels)
        if isinstance(self.loss, MixedLoss):
            return self.loss.mixed(embeddings, batch.labels, batch.others, batch.share)
        # Cross entropy is linear in the labels. A loss's running statistics are updated once in a step, by
        # the labels with the larger share.
        shares = [(batch.share, batch.labels), (1 - batch.share, batch.others)]
        (more, labels), (less, others) = sorted(shares, key=lambda each: each[0], reverse=True)
        main = self._of(embeddings, labels)
        with _evaluating(self.loss):
            return more * main + less * self._of(embeddings, others)

    def prefixes(self, embeddings: torch.Tensor) -> torch.Tensor:
        """What the term sees of the embeddings, (N, D) float: (N, width)."""
        return embeddings if self.width is None else embeddings[:, : self.width].contiguous()

    def _of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.centres is None:
            return self.loss(embeddings, labels)  # type: ignore[operator]
        return self.centres(embeddings, labels, self.loss)  # type: ignore[arg-type]


class Objective(nn.Module):
    """The model, its losses, and the distiller of a case with a teacher.

    values: scalars of the last call of `loss`, detached and without weights: "loss NAME" of each loss, "loss
    NAME TERM" of each of its regularisers, and "distiller".
    """

    def __init__(self, model: EmbeddingModel, terms: list[Term], distiller: Distiller | None = None) -> None:
        super().__init__()
        self.model = model
        self.terms = nn.ModuleList(terms)
        self.distiller = distiller
        self.values: dict[str, torch.Tensor] = {}

    def forward(self, batch: Batch) -> torch.Tensor:
        """The scalar that training minimises."""
        return self.loss(self.model.embed(batch.images), batch)

    def loss(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The scalar from the embeddings of `batch.images`."""
        count = len(batch.labels)
        terms: Any = self.terms
        found: list[tuple[str, torch.Tensor, float]] = []
        for term in terms:
            name, seen = f"loss {term.name}", term.prefixes(embeddings[:count])
            found.append((name, term(seen, batch), term.weight))
            further = term.regularisers(seen)
            found += [(f"{name} {key}", value, term.weight) for key, value in further.items()]
        if self.distiller is not None:
            assert batch.targets is not None
            seen = embeddings if batch.clean is None else embeddings[count:]
            found.append(("distiller", self.distiller(seen, batch.targets), self.distiller.weight))
        self.values = {name: value.detach() for name, value, _ in found}
        parts = [_weighted(value, weight) for _, value, weight in found]
        return sum(parts[1:], parts[0])

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, without the model's."""
        terms: Any = self.terms
        return {
            "losses": {
                term.name: {"loss": _state(term.loss), "centres": _state(term.centres)} for term in terms
            },
            "distiller": _state(self.distiller),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Load the output of `state`."""
        terms: Any = self.terms
        for term in terms:
            stored = state["losses"][term.name]
            _load(term.loss, stored["loss"])
            _load(term.centres, stored["centres"])
        _load(self.distiller, state["distiller"])


def _weighted(value: torch.Tensor, weight: float) -> torch.Tensor:
    return value if weight == 1 else value * weight


def build_objective(case: Case, model: EmbeddingModel, teacher: Teacher | None = None) -> Objective:
    """The objective of a case around its model. Raises SuiteError as `build_terms` and `build_distiller`."""
    dim = model.neck.dim
    distiller = None if teacher is None else build_distiller(case, dim, teacher.dim)
    return Objective(model, build_terms(case, dim), distiller)


def build_terms(case: Case, dim: int) -> list[Term]:
    """The losses of a case, with their class centres, for embeddings of `dim` numbers.

    A case with nested widths has a loss and class centres of its own for each, and the mean over the widths
    counts (arXiv:2205.13147 has their sum). Raises SuiteError, with the place of the component, for a loss
    with class centres without a sampler, and where a loss or a sampler cannot take the case's mixed images;
    with the place of the widths where they do not fit `dim`.
    """
    widths = case.spec.widths.of(dim)
    return [
        _build_term(case, width, name, chosen)
        for name, chosen in case.spec.losses.items()
        for width in widths
    ]


def build_distiller(case: Case, dim: int, teacher_dim: int) -> Distiller:
    """The distiller of a case, for embeddings of `dim` numbers. Raises SuiteError with its place."""
    part = case.spec.parts["distiller"]
    with part.located(), torch_seed(case.seed, "distiller"):
        built = part.component.build(DistillerContext(dim, teacher_dim))
        distiller: Distiller = check_built(part, built)
    return distiller


def _build_term(case: Case, dim: int, name: str, chosen: WeightedLoss) -> Term:
    """The term of one width, `dim`. That of the whole width is drawn as in a case without nested ones."""
    parts, widths = case.spec.parts, case.spec.widths
    path = (f"width {dim}",) if dim in widths.nested else ()
    weight, width = chosen.weight, None
    if widths.values:
        weight, width = weight / len(widths.values), dim
    title = at_width(name, dim) if path else name
    with chosen.part.located():
        with torch_seed(case.seed, "loss", name, *path):
            built = chosen.part.component.build(LossContext(case.forecast.classes, dim))
            loss = check_built(chosen.part, built)
        if not isinstance(loss, CentreLoss):
            if "mixing" in parts and not isinstance(loss, MixedLoss):
                raise ComponentError(
                    f"{chosen.part.entry} compares images by their labels and cannot take mixed ones; "
                    "set mixing: null, or choose a loss with class centres"
                )
            return Term(title, chosen.part, loss, None, weight, width)
        check_sampler(parts, chosen.part)
    # A single loss draws the same as before cases could have several.
    path = path if len(case.spec.losses) == 1 else (name, *path)
    centres = _build_centres(case, dim, loss, path)
    return Term(title, chosen.part, loss, centres, weight, width)


def _build_centres(case: Case, dim: int, loss: CentreLoss, path: tuple[str, ...]) -> CentreSampler:
    """The class centres of one term. path: of its random draws."""
    part = case.spec.parts["sampler"]
    context = SamplerContext(
        num_classes=case.forecast.classes,
        dim=dim,
        centres_per_class=loss.centres_per_class,
        batch_size=case.recipe.batch_size,
        batch_labels=case.forecast.batch_labels,
        seed=derive(case.seed, "sampler", *path),
    )
    with part.located():
        with torch_seed(case.seed, "centres", *path):
            centres: CentreSampler = check_built(part, part.component.build(context))
        if isinstance(centres, RowSampler) and "mixing" in case.spec.parts:
            raise ComponentError(
                f"{part.entry} moves its centres by one label an image and cannot take mixed images; "
                "set sampler: all, or mixing: null"
            )
    return centres


@contextmanager
def _evaluating(loss: Any) -> Iterator[None]:
    """Inside the block, a loss that is a module is in evaluation mode."""
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


def _load(part: Any, state: Mapping[str, torch.Tensor]) -> None:
    if isinstance(part, nn.Module):
        part.load_state_dict(state)

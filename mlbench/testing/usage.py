"""How mlbench calls components that take tensors: backbones, necks, losses, samplers and distillers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlbench.contracts.options import LossContext
from mlbench.errors import MlbenchError
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject
from mlbench.testing.learning import CENTRES, Cosines, distiller_widths
from mlbench.testing.loss import PROVIDED, Trial
from mlbench.testing.neck import made_features, shapes
from mlbench.testing.network import IMAGE_SIZE

__all__ = ["MOST", "Usage", "usages"]

#: Most examples of a batch.
MOST = 7


@dataclass(frozen=True)
class Usage:
    """A built component and how it is called.

    part: what was built; mostly a torch.nn.Module. examples: (MOST, ...) float32, of which a batch is the
    first ones. call: the output for a batch, which is a scalar where `is_objective`.
    """

    part: Any
    examples: torch.Tensor
    call: Callable[[torch.Tensor], torch.Tensor]
    is_objective: bool

    def batch(self, count: int) -> torch.Tensor:
        """The first `count` examples."""
        return self.examples[:count].clone()

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode; a frozen prefix stays in evaluation mode, as mlbench keeps it."""
        if isinstance(self.part, nn.Module):
            self.part.train(mode)
            frozen = getattr(self.part, "frozen", None)
            if isinstance(frozen, nn.Module):
                frozen.eval().requires_grad_(False)


def usages(subject: Subject, seed: int | None = 0) -> list[Usage]:
    """A usage for each form of input that the component accepts. seed: of the global generators while it is
    built; None to leave them alone."""
    seeded = nullcontext() if seed is None else torch_seed(seed, "usage")
    return _USAGES[subject.component.kind](subject, seeded)


def _normal(name: str, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch_generator(0, name))


def _backbone(subject: Subject, seeded: AbstractContextManager[None]) -> list[Usage]:
    with seeded:
        backbone = subject.build(image_size=IMAGE_SIZE)
    side = subject.arguments.get("image_size", IMAGE_SIZE)
    return [Usage(backbone, _normal("pixels", MOST, 3, side, side), backbone, False)]


def _necks(subject: Subject, seeded: AbstractContextManager[None]) -> list[Usage]:
    with seeded:
        necks = [(shape, subject.attempt(features=shape)) for shape in shapes(subject)]
    return [
        Usage(neck, made_features(shape, MOST), neck, False)
        for shape, neck in necks
        if not isinstance(neck, MlbenchError)
    ]


def _loss(subject: Subject, seeded: AbstractContextManager[None]) -> list[Usage]:
    trial = Trial(subject, seeded)
    classes = LossContext(**{**PROVIDED, **subject.arguments}).num_classes

    def call(embeddings: torch.Tensor) -> torch.Tensor:
        return trial.value(embeddings, torch.arange(len(embeddings)) // 2 % classes)

    return [Usage(trial.loss, _normal("embeddings", MOST, trial.dim), call, True)]


def _sampler(subject: Subject, seeded: AbstractContextManager[None]) -> list[Usage]:
    values = {**CENTRES, "batch_size": MOST, **subject.arguments}
    with seeded:
        sampler = subject.build(**values)
    loss = Cosines(values["centres_per_class"])

    def call(embeddings: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = sampler(
            embeddings, torch.arange(len(embeddings)) % values["batch_labels"], loss
        )
        return value

    return [Usage(sampler, _normal("embeddings", MOST, values["dim"]), call, True)]


def _distillers(subject: Subject, seeded: AbstractContextManager[None]) -> list[Usage]:
    with seeded:
        made = [(widths, subject.attempt(**widths)) for widths in distiller_widths(subject)]
    found = []
    for widths, distiller in made:
        if isinstance(distiller, MlbenchError):
            continue
        teachers = _normal("teacher", MOST, widths["teacher_dim"])

        def call(
            embeddings: torch.Tensor, distiller: Any = distiller, teachers: torch.Tensor = teachers
        ) -> torch.Tensor:
            distance: torch.Tensor = distiller(embeddings, teachers[: len(embeddings)])
            return distance

        found.append(Usage(distiller, _normal("student", MOST, widths["dim"]), call, True))
    return found


_USAGES: dict[str, Callable[[Subject, AbstractContextManager[None]], list[Usage]]] = {
    "backbone": _backbone,
    "neck": _necks,
    "loss": _loss,
    "sampler": _sampler,
    "distiller": _distillers,
}

"""The parts of a case on a device, for preflight, training, the measuring process and the export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from mlbench.planning.plan import Case
from mlbench.planning.spec import PRECISIONS
from mlbench.training.embed import Embedder
from mlbench.training.feed import Feed, build_feed
from mlbench.training.input_cache import InputCache
from mlbench.training.inputs import InputSpec
from mlbench.training.model import EmbeddingModel, Teacher, build_model, build_teacher
from mlbench.training.objective import Objective, build_objective

__all__ = ["Assembly", "assemble"]

Progress = Callable[[str, int, int], None]


class Assembly:
    """The parts of a case on a device. Each part is built when it is first used, and only once.

    Building raises SuiteError or WeightsError, with the place of the component in the suite file, and any
    error of a plugin. progress: called with (what, done, total) while inputs are cached. checked: whether the
    model and the losses have passed `mlbench.training.model_checks`.
    """

    def __init__(self, case: Case, fabric: Fabric, progress: Progress) -> None:
        self.case = case
        self.fabric = fabric
        self.checked = False
        self._progress = progress

    @cached_property
    def model(self) -> EmbeddingModel:
        """The model, not compiled before `compile`."""
        model: EmbeddingModel = self.fabric.to_device(build_model(self.case.spec, self.case.seed))
        return model

    @cached_property
    def teacher(self) -> Teacher | None:
        """The teacher; None for a case without one."""
        teacher = build_teacher(self.case.spec, self.case.seed)
        return None if teacher is None else self.fabric.to_device(teacher)

    @cached_property
    def objective(self) -> Objective:
        """The objective around the model, with class centres and distiller."""
        objective: Objective = self.fabric.to_device(build_objective(self.case, self.model, self.teacher))
        return objective

    @cached_property
    def inputs(self) -> InputCache:
        """Inputs of the model."""
        return InputCache(self.case, "backbone", self.model, self.fabric, self._progress)

    @cached_property
    def teacher_inputs(self) -> InputCache | None:
        """Inputs of the teacher; None for a case without one."""
        if self.teacher is None:
            return None
        return InputCache(self.case, "teacher", self.teacher, self.fabric, self._progress)

    @cached_property
    def feed(self) -> Feed | None:
        """Training batches; None where the recipe has no epochs."""
        if not self.case.recipe.epochs:
            return None
        return build_feed(self.case, self.objective, self.inputs, self.teacher_inputs, self.fabric)

    @cached_property
    def embedder(self) -> Embedder:
        """Embeds the splits without augmentation."""
        return Embedder(self.model, self.inputs, InputSpec(self.case.spec.image), self.fabric)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why inputs are not cached, one line each."""
        caches = (self.inputs, self.teacher_inputs)
        return tuple(note for cache in caches if cache is not None for note in cache.notes)

    def compile(self) -> None:
        """Compile the model where the case says so."""
        if self.case.spec.compute.compile:
            self.model.compile_parts()

    def to(self, device: torch.device) -> None:
        """Move the parts that are built to a device."""
        for part in self._built():
            part.to(device)

    def bytes(self) -> int:
        """Bytes of the parts that are built."""
        tensors = (each for part in self._built() for each in (*part.parameters(), *part.buffers()))
        return sum({id(each): each.nbytes for each in tensors}.values())

    def _built(self) -> Iterator[nn.Module]:
        parts: Any = (self.__dict__.get(name) for name in ("model", "teacher", "objective"))
        return (part for part in parts if part is not None)


def assemble(case: Case, device: str, progress: Progress = lambda what, done, total: None) -> Assembly:
    """The parts of a case on a device, a torch name such as "cuda:1"."""
    kind, _, index = device.partition(":")
    devices: Any = [int(index)] if index else 1
    fabric = Fabric(accelerator=kind, devices=devices, precision=PRECISIONS[case.spec.precision])
    return Assembly(case, fabric, progress)

"""Preflight: the parts of all cases are built and tried before any training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mlbench.errors import MlbenchError, PluginError, WeightsError
from mlbench.planning.plan import Case, labels_of
from mlbench.planning.plugin_code import described
from mlbench.training.assembly import Assembly, assemble
from mlbench.training.feed import build_batches
from mlbench.training.lr_factors import lr_factors
from mlbench.training.model import build_teacher
from mlbench.training.model_checks import check_losses, check_model
from mlbench.training.objective import build_distiller, build_terms
from mlbench.training.optimisation import check_recipe

__all__ = ["Preflight", "preflight"]

#: Bytes of the assemblies that are kept for training, without that of the first case.
KEPT_BYTES = 1 << 30

_MODEL = ("backbone", "neck", "image")
_BATCHES = ("dataset", "image", "batch_sampler", "recipe")
_TERMS = (*_MODEL, "widths", "dataset", "loss", "losses", "sampler", "mixing", "batch_sampler", "recipe")
_DISTILLATION = (*_MODEL, "teacher", "distiller")

Progress = Callable[[str, int, int], None]


@dataclass
class Preflight:
    """Results of a preflight by key of the case. assemblies: for training the case, in the CPU's memory.
    notes: why not all parts of the case were checked."""

    assemblies: dict[str, Assembly] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def take(self, case: Case) -> Assembly | None:
        """The assembly of a case, which is no longer kept here; None where there is none."""
        return self.assemblies.pop(case.key, None)


def preflight(cases: Sequence[Case], device: str, progress: Progress) -> Preflight:
    """Build every different part of the cases on the device, and try every different model and loss.

    Raises SuiteError, with the place in the suite file, for a component that refuses its options. Weights
    that cannot be loaded, errors of a plugin's code and what breaks the contract of its kind (see
    `mlbench.training.contract_checks`) only give the case a note: training it fails, and the
    other cases run. The assembly of the first case is kept for its training, and others up to KEPT_BYTES in
    all. progress: called with (what, done, total), by the assemblies too.
    """
    found = Preflight()
    check = _Check(device, progress)
    kept = 0
    for position, case in enumerate(cases):
        progress("checking models", position, len(cases))
        try:
            assembly = check(case)
        except (WeightsError, PluginError) as error:
            found.notes[case.key] = _note(str(error))
        except MlbenchError:
            raise
        except Exception as error:
            found.notes[case.key] = _note(described(error, case.spec.every_part()))
        else:
            size = 0 if assembly is None or not found.assemblies else assembly.bytes()
            if assembly is not None and kept + size <= KEPT_BYTES:
                kept += size
                assembly.to(torch.device("cpu"))
                found.assemblies[case.key] = assembly
            del assembly  # else it would share the device with the next model
    return found


def _note(reason: str) -> str:
    return f"not all of its components were checked before training: {reason}"


class _Check:
    """Checks cases one after the other. What was checked for an earlier case is not built again."""

    def __init__(self, device: str, progress: Progress) -> None:
        self._device = device
        self._progress = progress
        self._checked: set[str] = set()
        #: Cases by model, and the width of their embeddings, None for a model that failed.
        self._models: dict[str, tuple[Case, int | None]] = {}
        self._labels: dict[int, np.ndarray] = {}

    def __call__(self, case: Case) -> Assembly | None:
        """Returns the assembly of a case whose model is a new one."""
        parts = case.spec.parts
        if self._is_new(case, "recipe"):
            with parts["recipe"].located():
                check_recipe(case.recipe)
        if case.recipe.epochs and self._is_new(case, *_BATCHES):
            build_batches(case, self._labels_of(case))
        model = _sections(case, *_MODEL)
        if model not in self._models:
            self._models[model] = case, None
            assembly = assemble(case, self._device, self._progress)
            check_model(assembly)
            self._models[model] = case, assembly.model.neck.dim
            self._is_new(case, *_TERMS)
            self._is_new(case, *_DISTILLATION)
            check_losses(case, assembly.objective, assembly.fabric.device)
            assembly.checked = True
            objective: Any = assembly.objective
            lr_factors(case, objective.terms, objective.model, objective.distiller)
            return assembly
        first, dim = self._models[model]
        if dim is None:
            raise WeightsError(f"its model failed in the check of case {first.name!r} seed {first.seed}")
        if self._is_new(case, *_TERMS):
            lr_factors(case, build_terms(case, dim))
        if self._is_new(case, *_DISTILLATION):
            teacher = build_teacher(case.spec, case.seed)
            if teacher is not None:
                lr_factors(case, (), distiller=build_distiller(case, dim, teacher.dim))
        return None

    def _is_new(self, case: Case, *sections: str) -> bool:
        """Whether no earlier case had these sections with the same settings."""
        before = len(self._checked)
        self._checked.add(_sections(case, *sections))
        return len(self._checked) > before

    def _labels_of(self, case: Case) -> np.ndarray:
        """Labels of the train split, read once for all cases that share the data set."""
        key = id(case.dataset)
        if key not in self._labels:
            self._labels[key] = labels_of(case.dataset.split("train"))
        return self._labels[key]


def _sections(case: Case, *names: str) -> str:
    plain = case.spec.plain()
    return json.dumps([names, *(plain.get(name) for name in names)])

"""What is measured for the cases of a run: each stage once for all cases that it is the same for."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

from mlbench.contracts import Dataset
from mlbench.planning.plan import Case
from mlbench.planning.spec import Part
from mlbench.plugins import Plugin
from mlbench.registry import Entry, Registry

__all__ = ["STAGES", "Subject", "sections_of", "stage_key", "stages_of", "subjects_of"]

#: Speeds that each stage measures. The stage of inference measures memory and sizes too.
STAGES: Mapping[str, tuple[str, ...]] = {
    "inference": ("images_per_second",),
    "latency": ("latency_p50", "latency_p95"),
    "training": ("training_images_per_second",),
    "onnx": ("onnx_images_per_second",),
}

_MODEL = ("backbone", "neck")
_TRAINING = (*_MODEL, "loss", "sampler", "mixing", "teacher", "distiller", "recipe")


@dataclass(frozen=True)
class Subject:
    """Some stages of one case, which are measured for every case with the same `stage_key`.

    case: without its data set, so that it can be sent to another process.
    """

    case: Case
    stages: tuple[str, ...]

    def batch_size(self, stage: str) -> int:
        """Images in a batch of a stage."""
        sizes = {"latency": 1, "training": self.case.recipe.batch_size}
        return sizes.get(stage, self.case.spec.measure.batch_size)


def stages_of(case: Case, known: Mapping[str, Collection[str]] = MappingProxyType({})) -> list[str]:
    """The stages that the suite asks for, without those that are `known` (see `subjects_of`)."""
    wanted = case.spec.measure
    chosen = {
        "inference": True,
        "latency": wanted.latency,
        "training": wanted.training and case.recipe.epochs > 0,
        "onnx": wanted.onnx,
    }
    return [stage for stage in STAGES if chosen[stage] and stage not in known.get(case.key, ())]


def sections_of(stage: str) -> tuple[str, ...]:
    """Sections of the suite whose components take part in a stage."""
    return _TRAINING if stage == "training" else _MODEL


def stage_key(case: Case, stage: str) -> str:
    """The settings that the speed of a stage depends on, as text.

    Components leave out the options that do not change it (`Options.speed_neutral` and
    `BackboneOptions.training_only`).
    """
    spec, training = case.spec, stage == "training"
    image, compute, measure = spec.image, spec.compute, spec.measure
    facts: list[Any] = [stage, spec.precision, measure.rounds, image.size]
    facts += [compute.matmul_precision, compute.channels_last, compute.compile, compute.checkpointing]
    if training:
        facts += [image.train_size, image.teacher_size, compute.deterministic, compute.accumulate]
        facts += [case.forecast.classes, case.forecast.batch_labels, "augmentation" in spec.parts]
        facts += spec.widths.values
    elif stage != "latency":
        facts.append(measure.batch_size)
    # The parts are compiled one by one, so the cut between them changes the compiled code.
    whole = training or compute.compile
    chosen = sections_of(stage)
    sections: dict[str, Any] = {
        name: _named(part, whole) for name, part in spec.parts.items() if name in chosen
    }
    if training and "loss" not in spec.parts:
        sections["losses"] = [_named(each.part, whole) for each in spec.losses.values()]
    return json.dumps([facts, sections], sort_keys=True)


def subjects_of(
    cases: Sequence[Case], known: Mapping[str, Collection[str]] = MappingProxyType({})
) -> tuple[list[Subject], dict[str, int]]:
    """The subjects that measure every stage of the cases once; the index of the subject by `stage_key`.

    known: stages that need no measurement, by key of the case."""
    subjects: list[Subject] = []
    index: dict[str, int] = {}
    for case in cases:
        keys = {stage: stage_key(case, stage) for stage in stages_of(case, known)}
        if new := {stage: key for stage, key in keys.items() if key not in index}:
            index |= dict.fromkeys(new.values(), len(subjects))
            subjects.append(Subject(_portable(case), tuple(new)))
    return subjects, index


def _named(part: Part, whole: bool) -> list[Any]:
    """The name of a component and the options that its speed depends on, also those of inner components.
    whole: whether those that change training alone are among them."""
    found = copy.deepcopy(dict(part.options))
    # Inner ones first: an outer component may leave out the option that holds them.
    for path, each in reversed([("", part), *part.inner.items()]):
        options = each.entry.options_class
        neutral: Collection[str] = options.speed_neutral
        if not whole:
            neutral = {*neutral, *getattr(options, "training_only", ())}
        held = _at(found, path)
        for name in neutral:
            held.pop(name, None)
    return [part.entry.component.name, found]


def _at(options: Any, path: str) -> dict[str, Any]:
    """The options of the inner component at a path (see `Part.inner`); an empty one where a key has dots."""
    for key in filter(None, path.split(".")):
        try:
            options = options[int(key)] if isinstance(options, list) else options[key]
        except KeyError:
            return {}
    found: dict[str, Any] = options
    return found


def _portable(case: Case) -> Case:
    """The case without the parts that cannot be pickled or that measuring does not need."""

    def plain(part: Part) -> Part:
        inner = Plugin("", "", "", "", tuple({each.entry.component: None for each in part.inner.values()}))
        entry = Entry(part.entry.component, Plugin("", "", "", ""), registry=Registry([inner]))
        return Part(entry, dict(part.options), str)

    unused = ("dataset", "batch_sampler", "threshold", "recipe")
    spec = replace(
        case.spec,
        parts={name: plain(part) for name, part in case.spec.parts.items() if name not in unused},
        losses={name: replace(each, part=plain(each.part)) for name, each in case.spec.losses.items()},
        metrics={},
    )
    return replace(case, spec=spec, dataset=cast(Dataset, None))

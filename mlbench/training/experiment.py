"""An experiment: one case is trained, its threshold fitted, and its test images are scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mlbench.atomic_write import write_atomically
from mlbench.contracts import SPLITS, PairedDataset, SplitName
from mlbench.environment import Device
from mlbench.evaluation.calibration import calibrate
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.protocol import describe_protocol
from mlbench.evaluation.split_evaluation import SplitEvaluation, evaluate_split
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plan import Case
from mlbench.planning.spec import PRECISIONS
from mlbench.seeding import deterministic, matmul_precision, numpy_generator
from mlbench.training.checkpoint_score import build_score
from mlbench.training.comparisons import class_names, compared, splits_of
from mlbench.training.embed import as_array, embed
from mlbench.training.features import Inputs, InputSource, Look
from mlbench.training.feed import build_feed
from mlbench.training.model import build_model, build_teacher, size_of, state_hash
from mlbench.training.objective import build_objective
from mlbench.training.train import Training, train

__all__ = ["Outcome", "build_engine", "experiment", "score"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What an experiment found. facts: fields of a `mlbench.records.record.Record`. seconds: of each part."""

    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


def experiment(case: Case, device: Device, folder: Path, progress: Progress) -> Outcome:
    """Train and evaluate a case. folder: for its checkpoints, and for the metrics of each class.

    Raises MlbenchError for what cannot be built, read or trained.
    """
    if case.spec.compute.compile:
        # What was compiled for cases before could be taken for this one, with shapes that it never sees.
        torch.compiler.reset()
    times = [time.perf_counter()]
    with deterministic(), matmul_precision(case.spec.compute.matmul_precision):
        bench = _Bench(case, device, progress)
        times.append(time.perf_counter())
        training = bench.train(folder)
        times.append(time.perf_counter())
        found = bench.evaluate()
        times.append(time.perf_counter())
    if found.evaluation is not None:
        known = class_names(case, "test")
        names = [known[label] for label in found.evaluation.classes]
        write_atomically(folder / "classes.csv", found.evaluation.classes_csv(names).encode())
    laps = [after - before for before, after in pairwise(times)]
    return Outcome(
        facts={
            "metrics": found.metrics,
            "evaluation": found.facts,
            "size": bench.size(),
            "data": _data(case, labelled=found.evaluation is not None),
            "training": bench.told(training),
        },
        notes=(*bench.notes, *training.notes, *found.notes),
        seconds=dict(zip(("inputs", "train", "evaluate"), laps, strict=True)),
    )


def build_engine(case: Case, progress: Callable[[int, int], None] = lambda done, total: None) -> Engine:
    """What compares pairs of images as the case's suite asks for."""
    chosen = case.spec.evaluation
    return Engine(
        memory=chosen.memory_mib << 20,
        products=chosen.products,
        resamples=chosen.resamples,
        level=chosen.level,
        progress=progress,
    )


def score(case: Case, embeddings: Embeddings, threshold: Threshold, engine: Engine) -> SplitEvaluation:
    """Every metric of the case at a threshold. embeddings: of its test images (see `compared`)."""
    policy = case.spec.parts["threshold"].component.build()
    components = [part.component for part in case.spec.metrics.values()]
    metrics = [BuiltMetric(each.build(), each.quantities()) for each in components]
    pairs = case.dataset.pairs() if isinstance(case.dataset, PairedDataset) else None
    generator = numpy_generator(case.seed, "bootstrap")
    return evaluate_split(embeddings, pairs, policy, threshold, metrics, generator, engine)


class _Bench:
    """Everything that an experiment takes, put together on a device."""

    def __init__(self, case: Case, device: Device, progress: Progress) -> None:
        self._case = case
        self._progress = progress
        self._fabric = _fabric(case, device)
        self._model = build_model(case.spec, case.seed)
        self._teacher = build_teacher(case.spec, case.seed)
        self._objective = build_objective(case, self._model, self._teacher)
        self._fabric.to_device(self._objective)
        self._look = Look(case.spec.image)
        self._sources = [InputSource(case, self._model, self._fabric, progress)]
        if self._teacher is not None:
            self._fabric.to_device(self._teacher)
            self._sources.append(InputSource(case, self._teacher, self._fabric, progress, "teacher"))
        self._feed = None
        if case.recipe.epochs:
            teacher = self._sources[1] if self._teacher is not None else None
            self._feed = build_feed(case, self._objective, self._sources[0], teacher, self._fabric)
        self._evaluated = {name: self._inputs(name) for name in sorted(splits_of(case))}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for source in self._sources for note in source.notes)

    def train(self, folder: Path) -> Training:
        score = build_score(self._case, build_engine(self._case))

        def train_embeddings() -> np.ndarray:
            return as_array(embed(self._model, self._inputs("train"), self._fabric, "train"))

        return train(
            self._case,
            self._objective,
            self._feed,
            train_embeddings,
            lambda: score(compared(self._case, "calibration", self._embed)),
            self._fabric,
            folder,
            self._progress,
        )

    def evaluate(self) -> SplitEvaluation:
        case = self._case
        self._progress("evaluating", 0, 1)
        engine = build_engine(case, lambda done, total: self._progress("evaluating", done, total))
        embed = cache(self._embed)  # both may search the same split
        calibration, test = (compared(case, name, embed) for name in ("calibration", "test"))
        policy = case.spec.parts["threshold"].component.build()
        threshold = calibrate(policy, calibration, engine, numpy_generator(case.seed, "threshold"))
        found = score(case, test, threshold, engine)
        protocol = {
            **found.facts.get("protocol", {}),
            "gallery": case.spec.evaluation.gallery,
            "calibration": describe_protocol(calibration),
        }
        return replace(found, facts={**found.facts, "protocol": protocol})

    def size(self) -> dict[str, int | None]:
        """Of the deployed model; of class centres, with whatever else only training needs; of the teacher."""
        deployed, everything = size_of(self._model), size_of(self._objective)
        found: dict[str, int | None] = {
            **deployed,
            "centres": everything["parameters"] - deployed["parameters"],
            "centres_bytes": everything["bytes"] - deployed["bytes"],
        }
        if self._teacher is not None:
            teacher = size_of(self._teacher)
            found |= {"teacher": teacher["parameters"], "teacher_bytes": teacher["bytes"]}
        return found

    def told(self, training: Training) -> dict[str, Any]:
        """What a record says of training."""
        teacher = {} if self._teacher is None else {"teacher": self._teacher.backbone.weights}
        return {
            "steps": training.steps,
            "best_epoch": training.best_epoch,
            "waited_seconds": training.waited,
            "weights": self._model.backbone.weights,
            "model": state_hash(self._model.state_dict().values()),
            **teacher,
            "inputs_cached": self._feed is not None and self._feed.inputs.stored,
            "curves": training.curves,
        }

    def _inputs(self, split: SplitName) -> Inputs:
        return self._sources[0].get(split, self._look)

    def _embed(self, split: SplitName) -> Embeddings:
        return embed(self._model, self._evaluated[split], self._fabric, split)


def _fabric(case: Case, device: Device) -> Fabric:
    kind, _, index = device.name.partition(":")
    devices: Any = [int(index)] if index else 1
    return Fabric(accelerator=kind, devices=devices, precision=PRECISIONS[case.spec.precision])


def _data(case: Case, *, labelled: bool) -> dict[str, Any]:
    """What a record says of the data. labelled: whether the test images have classes."""
    splits: dict[str, dict[str, int | None]] = {
        name: {"classes": int(split.num_classes), "images": len(split)}
        for name, split in ((name, case.dataset.split(name)) for name in SPLITS)
    }
    if not labelled:
        splits["test"]["classes"] = None
    return {
        "version": str(case.dataset.version),
        "disjoint": bool(case.dataset.disjoint),
        "splits": splits,
    }

"""An experiment: one case is trained, then evaluated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mlbench.atomic_write import write_atomically
from mlbench.contracts import SPLITS
from mlbench.evaluation.details import DETAILS, Details, write_details
from mlbench.planning.gallery import gallery_split
from mlbench.planning.plan import Case
from mlbench.seeding import deterministic, matmul_precision
from mlbench.training.assembly import Assembly
from mlbench.training.case_evaluation import build_engine, evaluate_case
from mlbench.training.checkpoint_score import build_score
from mlbench.training.comparisons import class_names, compared, splits_of
from mlbench.training.lr_factors import stated_lr_factors
from mlbench.training.model import size_of, state_hash
from mlbench.training.model_checks import check_losses, check_model
from mlbench.training.train import Observer, Training, train

__all__ = ["Outcome", "experiment"]


@dataclass(frozen=True)
class Outcome:
    """Results of an experiment. facts: fields of a `mlbench.records.record.Record`. seconds: by part."""

    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


def experiment(
    assembly: Assembly,
    folder: Path,
    progress: Callable[[str, int, int], None],
    observe: Observer = lambda end: None,
) -> Outcome:
    """Train and evaluate a case. folder: for its checkpoints, the metrics of each class and the
    details of its evaluation.

    Raises MlbenchError for a part that cannot be built, read or trained.
    """
    case = assembly.case
    if case.spec.compute.compile:
        # Compiled code of earlier cases could be reused for this one, with shapes that it never sees.
        torch.compiler.reset()
    times = [time.perf_counter()]
    compute = case.spec.compute
    with deterministic(compute.deterministic), matmul_precision(compute.matmul_precision):
        assembly.to(assembly.fabric.device)
        if not assembly.checked:
            check_model(assembly)
            check_losses(case, assembly.objective, assembly.fabric.device)
        assembly.compile()
        feed, embedder = assembly.feed, assembly.embedder
        for split in sorted(splits_of(case)):
            embedder.inputs(split)
        times.append(time.perf_counter())
        score = build_score(case, build_engine(case))
        training = train(
            case,
            assembly.objective,
            feed,
            lambda: embedder.array("train"),
            lambda: score(compared(case, "calibration", embedder)),
            assembly.fabric,
            folder,
            progress,
            observe,
        )
        times.append(time.perf_counter())
        progress("evaluating", 0, 1)
        found = evaluate_case(case, embedder, lambda done, total: progress("evaluating", done, total))
        times.append(time.perf_counter())
    if found.evaluation is not None:
        known = class_names(case, case.spec.evaluation.split)
        names = [known[label] for label in found.evaluation.classes]
        write_atomically(folder / "classes.csv", found.evaluation.classes_csv(names).encode())
        if found.evaluation.details is not None:
            write_details(folder / DETAILS, _named(case, found.evaluation.details, names))
    laps = [after - before for before, after in pairwise(times)]
    return Outcome(
        facts={
            "metrics": found.metrics,
            "evaluation": found.facts,
            "size": _sizes(assembly),
            "data": _data(case, labelled=found.evaluation is not None),
            "training": _training_facts(assembly, training),
        },
        notes=(*assembly.notes, *training.notes, *found.notes),
        seconds=dict(zip(("inputs", "train", "evaluate"), laps, strict=True)),
    )


def _named(case: Case, details: Details, names: list[str]) -> Details:
    """The details with the names of the case's splits and classes."""
    split = case.spec.evaluation.split
    gallery = gallery_split(case.dataset, split, case.spec.evaluation.gallery)
    return details.named(split, len(case.dataset.split(split)), gallery, names)


def _sizes(assembly: Assembly) -> dict[str, int | None]:
    """Sizes of the deployed model; of class centres and all other parts that only training needs; of the
    teacher."""
    deployed, everything = size_of(assembly.model), size_of(assembly.objective)
    found: dict[str, int | None] = {
        **deployed,
        "centres": everything["parameters"] - deployed["parameters"],
        "centres_bytes": everything["bytes"] - deployed["bytes"],
    }
    if assembly.teacher is not None:
        teacher = size_of(assembly.teacher)
        found |= {"teacher": teacher["parameters"], "teacher_bytes": teacher["bytes"]}
    return found


def _training_facts(assembly: Assembly, training: Training) -> dict[str, Any]:
    """Facts of a record about training."""
    model, teacher, feed = assembly.model, assembly.teacher, assembly.feed
    return {
        "steps": training.steps,
        "best_epoch": training.best_epoch,
        "waited_seconds": training.waited,
        "weights": model.backbone.weights,
        "model": state_hash(model.state_dict().values()),
        **({} if teacher is None else {"teacher": teacher.backbone.weights}),
        "inputs_cached": feed is not None and feed.cached,
        "curves": training.curves,
        **({"continued": training.continued} if training.continued else {}),
        **({"lr_factors": stated} if (stated := stated_lr_factors(assembly.case.spec)) else {}),
        **_trained_quantities(training),
    }


def _trained_quantities(training: Training) -> dict[str, float]:
    """Quantities of `TRAINED`; none without an epoch, and of a loss that is 0 on average."""
    if not training.steps or not training.curves["loss"][-1]:
        return {}
    return {"loss_variation": training.curves["loss_deviation"][-1] / abs(training.curves["loss"][-1])}


def _data(case: Case, *, labelled: bool) -> dict[str, Any]:
    """Facts of a record about the data. labelled: whether the test images have classes."""
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

"""The judge of embeddings from files: metrics and threshold as a request says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.contracts import ThresholdPolicy
from mlbench.environment import find_device
from mlbench.errors import DeviceError
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation, evaluate_all_pairs
from mlbench.evaluation.calibration import calibrate, fit_threshold
from mlbench.evaluation.embedding_files import read_provenance
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.pair_counter import Progress
from mlbench.evaluation.repeats import repeated_embeddings_note
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.spec import EvaluationSettings
from mlbench.records.record import Estimate
from mlbench.seeding import numpy_generator

__all__ = ["EvaluationRequest", "FileEvaluation", "Judge"]


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """The files and settings of an evaluation.

    gallery: embeddings that the queries of `file` are compared with, instead of with each other. calibration:
    embeddings to fit the threshold on; or share: of the classes of `file` to use for it. pairs: a list of
    pairs to evaluate in `folds` folds, instead of all pairs. overrides: as in --set. threads: None for all
    cores. details: whether to find the details of the evaluation, too.
    """

    file: Path
    labels: Path | None = None
    gallery: Path | None = None
    calibration: Path | None = None
    share: float = 0.0
    pairs: Path | None = None
    folds: int = 10
    overrides: Sequence[str] = ()
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    details: bool = False


@dataclass(frozen=True)
class FileEvaluation:
    """Metrics by name, facts for the reader, and notes. evaluation: None for a list of pairs. beside: the
    other evaluations of two models' embeddings of the same images, by name ("new to new", "old to old");
    verdict: one sentence a metric on them."""

    metrics: Mapping[str, Estimate]
    facts: Mapping[str, Any]
    notes: Sequence[str]
    evaluation: AllPairsEvaluation | None = None
    beside: Mapping[str, FileEvaluation] = field(default_factory=dict)
    verdict: Sequence[str] = ()


@dataclass(frozen=True)
class Judge:
    """Evaluates embeddings as a request says."""

    request: EvaluationRequest
    policy: ThresholdPolicy
    built: Sequence[BuiltMetric]
    settings: EvaluationSettings
    progress: Progress

    def evaluated(
        self,
        embeddings: Embeddings,
        calibration: Embeddings | None,
        fitted_on: Embeddings | None,
        stated_by: Path | None = None,
        images: int = 0,
    ) -> FileEvaluation:
        """Metrics of embeddings. calibration: with its gallery, to fit the threshold; fitted_on: without.
        stated_by: a file that may state the threshold of its model, which is taken where none is fitted.
        images: rows of the file with the queries, for the details; 0 for no details."""
        request, settings = self.request, self.settings
        engine = Engine(
            memory=settings.memory_mib << 20,
            products=settings.products,
            resamples=settings.resamples,
            level=settings.level,
            threads=request.threads,
            progress=self.progress,
        )
        threshold = _threshold(self.policy, _to_device(calibration, request.device), engine, request.seed)
        notes = []
        if threshold.similarity is None and calibration is None and stated_by is not None:
            threshold = self._stated(stated_by) or threshold
            if threshold.similarity is not None:
                notes.append(f"the threshold is the one that {stated_by.name} states of its model")
        generator = numpy_generator(request.seed, "bootstrap")
        details = numpy_generator(request.seed, "details") if request.details and images else None
        given = _to_device(embeddings, request.device)
        result = evaluate_all_pairs(given, threshold, self.built, generator, engine, details)
        if result.details is not None:
            result = replace(result, details=replace(result.details, images=images))
        facts, notes = result.plain(), [*notes, *result.notes]
        if repeats := repeated_embeddings_note(embeddings):
            notes.append(repeats)
        if fitted_on is not None and calibration is not None:
            members = fitted_on.queries | fitted_on.gallery
            images, classes = int(members.sum()), len(np.unique(fitted_on.labels[members]))
            facts["calibration"] = {"images": images, "classes": classes}
            notes.insert(0, f"the threshold was fitted on {images:,} other images of {classes:,} classes")
        return FileEvaluation(result.metrics, facts, notes, result)

    def _stated(self, path: Path) -> Threshold | None:
        """The fitted threshold of the model that made a file, where the file states it and no other policy
        was asked for."""
        if any(each.partition("=")[0].partition(".")[0] == "threshold" for each in self.request.overrides):
            return None
        try:
            similarity = float(read_provenance(path).get("threshold_similarity", ""))
        except ValueError:
            return None
        return Threshold(float(on_grid(similarity))) if abs(similarity) <= 1 else None


def _threshold(
    policy: ThresholdPolicy, calibration: Embeddings | None, engine: Engine, seed: int
) -> Threshold:
    if calibration is not None:
        return calibrate(policy, calibration, engine, numpy_generator(seed, "threshold"))
    known = fit_threshold(policy, None)
    advice = "give --calibration FILE, or --calibration-share 0.5 to use half of the classes for it"
    return replace(known, note=advice) if known.similarity is None else known


def _to_device(embeddings: Embeddings | None, device: str) -> Any:
    """The embeddings with vectors on a device; an array on the CPU."""
    found = find_device(device)
    if embeddings is None or found.kind == "cpu":
        return embeddings
    if found.kind != "cuda":
        raise DeviceError(
            f"embeddings cannot be evaluated on {found.name}, which has no float64; use --device cpu"
        )
    import torch

    from mlbench.environment import check_torch

    check_torch(found)
    vectors = torch.from_numpy(np.ascontiguousarray(embeddings.vectors, np.float32)).to(found.name)
    return replace(embeddings, vectors=vectors)

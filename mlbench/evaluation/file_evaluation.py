"""Evaluation of a file of embeddings, without a suite or training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.contracts import ThresholdPolicy
from mlbench.environment import find_device
from mlbench.errors import DataError, DeviceError, OptionError
from mlbench.evaluation.all_pairs_evaluation import AllPairsEvaluation, evaluate_all_pairs
from mlbench.evaluation.calibration import calibrate, fit_threshold
from mlbench.evaluation.embedding_files import read_embeddings
from mlbench.evaluation.embeddings import Embeddings, collapse_note, mean_similarity
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.labels import sort_labels
from mlbench.evaluation.pair_counter import Progress
from mlbench.evaluation.pair_files import read_pairs
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.evaluation.protocol import with_gallery
from mlbench.evaluation.repeats import repeated_embeddings_note
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plugin_code import named
from mlbench.planning.spec import EvaluationSettings
from mlbench.planning.suite import evaluation_parts
from mlbench.records.record import Estimate
from mlbench.registry import Registry
from mlbench.seeding import numpy_generator

__all__ = ["EvaluationRequest", "FileEvaluation", "evaluate_file"]

#: Metrics and threshold policy by default, over all pairs and over a list of pairs.
_BASE = {"metrics": ["retrieval", "verification"], "threshold": "best_f1"}
_BASE_PAIRS = {"metrics": ["verification"], "threshold": "best_accuracy"}


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
    """Metrics by name, facts for the reader, and notes. evaluation: None for a list of pairs."""

    metrics: Mapping[str, Estimate]
    facts: Mapping[str, Any]
    notes: Sequence[str]
    evaluation: AllPairsEvaluation | None = None


def evaluate_file(request: EvaluationRequest, registry: Registry, progress: Progress) -> FileEvaluation:
    """Evaluate a file of embeddings. Raises SuiteError or OptionError for a wrong option, DataError for
    invalid data, PluginError for an error of a metric or threshold policy, and DeviceError for a device
    without float64."""
    _check_request(request)
    base = _BASE_PAIRS if request.pairs else _BASE
    policy_part, metrics, settings = evaluation_parts(base, request.overrides, registry)
    if settings.split != "test":
        raise OptionError(f"evaluation.split={settings.split} is for suites; give a file of these embeddings")
    if settings.gallery != "test":
        raise OptionError(
            f"evaluation.gallery={settings.gallery} is for suites; name a file with --gallery, or give FILE "
            "the arrays queries and gallery"
        )
    with named((policy_part, *metrics.values())), policy_part.blamed():
        policy = policy_part.component.build()
        built = [BuiltMetric.of(part.component, str(part)) for part in metrics.values()]
        return _evaluate(request, policy, built, settings, progress)


def _evaluate(
    request: EvaluationRequest,
    policy: ThresholdPolicy,
    built: Sequence[BuiltMetric],
    settings: EvaluationSettings,
    progress: Progress,
) -> FileEvaluation:
    embeddings = read_embeddings(request.file, request.labels, needs_labels=request.pairs is None)
    images = len(embeddings)
    if request.pairs is not None:
        return _evaluate_listed(embeddings, request.pairs, request.folds, policy, built, settings.level)
    calibration = None
    if request.calibration is not None:
        calibration = read_embeddings(request.calibration, name=f"calibration {request.calibration.name}")
        _check_width(calibration, embeddings, "a threshold is only valid for the model it was fitted on")
    elif request.share:
        embeddings, calibration = _split_off_calibration(embeddings, request.share, request.seed)
    fitted_on = calibration
    if request.gallery is not None:
        gallery = read_embeddings(request.gallery, name=request.gallery.name)
        _check_width(gallery, embeddings, "only embeddings of one model can be compared")
        embeddings = _with_file_gallery(embeddings, gallery)
        calibration = None if calibration is None else _with_file_gallery(calibration, gallery)
    engine = Engine(
        memory=settings.memory_mib << 20,
        products=settings.products,
        resamples=settings.resamples,
        level=settings.level,
        threads=request.threads,
        progress=progress,
    )
    threshold = _threshold(policy, _to_device(calibration, request.device), engine, request.seed)
    generator = numpy_generator(request.seed, "bootstrap")
    details = numpy_generator(request.seed, "details") if request.details else None
    given = _to_device(embeddings, request.device)
    result = evaluate_all_pairs(given, threshold, built, generator, engine, details)
    if result.details is not None:
        result = replace(result, details=replace(result.details, images=images))
    facts, notes = result.plain(), result.notes
    if repeats := repeated_embeddings_note(embeddings):
        notes.append(repeats)
    if fitted_on is not None:
        members = fitted_on.queries | fitted_on.gallery
        images, classes = int(members.sum()), len(np.unique(fitted_on.labels[members]))
        facts["calibration"] = {"images": images, "classes": classes}
        notes.insert(0, f"the threshold was fitted on {images:,} other images of {classes:,} classes")
    return FileEvaluation(result.metrics, facts, notes, result)


def _check_request(request: EvaluationRequest) -> None:
    """Raise OptionError for options that exclude each other."""
    if request.calibration is not None and request.share:
        raise OptionError("--calibration and --calibration-share both fit the threshold; give one of them")
    if request.pairs is not None and (request.calibration is not None or request.share):
        raise OptionError("--pairs fits its thresholds on the other folds; leave out --calibration")
    if request.pairs is not None and request.details:
        raise OptionError("--pairs scores the listed pairs alone, which have no details; leave out --details")
    if request.pairs is not None and request.gallery is not None:
        raise OptionError("--pairs already states which images are compared; leave out --gallery")


def _evaluate_listed(
    embeddings: Embeddings,
    path: Path,
    folds: int,
    policy: ThresholdPolicy,
    metrics: Sequence[BuiltMetric],
    level: float,
) -> FileEvaluation:
    pairs = read_pairs(path, len(embeddings), folds)
    listed = evaluate_pair_list(embeddings, pairs, policy, metrics, level)
    similarity = mean_similarity(embeddings)
    facts = {**listed.facts, "thresholds": listed.thresholds, "mean_similarity": similarity}
    collapsed = collapse_note(similarity, embeddings.name)
    return FileEvaluation(listed.metrics, facts, [*listed.notes, *([collapsed] if collapsed else [])])


def _check_width(other: Embeddings, embeddings: Embeddings, reason: str) -> None:
    widths = [int(each.vectors.shape[1]) for each in (embeddings, other)]
    if widths[0] != widths[1]:
        raise DataError(
            f"{other.name}: {widths[1]} dimensions, but {embeddings.name} has {widths[0]}; {reason}"
        )


def _with_file_gallery(embeddings: Embeddings, gallery: Embeddings) -> Embeddings:
    """`with_gallery` for embeddings of different files, whose labels may have different types."""
    kinds = ["numbers" if each.labels.dtype.kind in "biuf" else "texts" for each in (embeddings, gallery)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{gallery.name}: its labels are {kinds[1]}, but those of {embeddings.name} are {kinds[0]}; "
            "a class must have the same label in both"
        )
    return with_gallery(embeddings, gallery)


def _threshold(
    policy: ThresholdPolicy, calibration: Embeddings | None, engine: Engine, seed: int
) -> Threshold:
    if calibration is not None:
        return calibrate(policy, calibration, engine, numpy_generator(seed, "threshold"))
    known = fit_threshold(policy, None)
    advice = "give --calibration FILE, or --calibration-share 0.5 to use half of the classes for it"
    return replace(known, note=advice) if known.similarity is None else known


def _split_off_calibration(embeddings: Embeddings, share: float, seed: int) -> tuple[Embeddings, Embeddings]:
    """Split the embeddings into those to evaluate and those of a random share of the classes, for
    calibration."""
    classes = sort_labels(np.unique(embeddings.labels))
    drawn = numpy_generator(seed, "calibration").permutation(len(classes))
    count = round(share * len(classes))
    if min(count, len(classes) - count) < 2:
        raise DataError(
            f"{embeddings.name}: a share of {share:g} of {len(classes)} classes leaves "
            "fewer than 2 for evaluation or for calibration"
        )
    inside = np.isin(embeddings.labels, classes[drawn[:count]])
    return _restrict(embeddings, ~inside, embeddings.name), _restrict(
        embeddings, inside, "calibration classes"
    )


def _restrict(embeddings: Embeddings, members: np.ndarray, name: str) -> Embeddings:
    """The embeddings with roles only for some images, without a copy of the vectors."""
    queries, gallery = embeddings.queries & members, embeddings.gallery & members
    return replace(embeddings, queries=queries, gallery=gallery, name=name)


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

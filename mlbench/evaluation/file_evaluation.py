"""Assessment: the evaluation of embeddings that came from anywhere, without training or a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.environment import find_device
from mlbench.errors import DataError, DeviceError, OptionError
from mlbench.evaluation.all_pairs_evaluation import Engine, Evaluation, Measure, calibrate, evaluate
from mlbench.evaluation.embedding_files import read_embeddings, read_pairs
from mlbench.evaluation.embeddings import Embeddings, collapse, mean_similarity
from mlbench.evaluation.labels import in_order
from mlbench.evaluation.pair_list_evaluation import evaluate_folds
from mlbench.evaluation.pair_scan import Progress
from mlbench.evaluation.protocol import against
from mlbench.evaluation.repeats import repeated_rows
from mlbench.evaluation.threshold import Threshold, fit_threshold
from mlbench.planning.suite import evaluation_parts
from mlbench.records.record import Estimate
from mlbench.registry import Registry
from mlbench.seeding import numpy_generator

__all__ = ["Assessment", "Request", "assess"]

#: What is measured where nothing else is asked for.
_BASE = {"metrics": ["retrieval", "verification"], "threshold": "best_f1"}
_BASE_PAIRS = {"metrics": ["verification"], "threshold": "best_accuracy"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to assess. gallery: other embeddings, which the file's queries search instead of each other.
    calibration: other embeddings that fit the threshold, or share: of the classes that are set apart for it.
    pairs: a list of pairs to judge in `folds` folds instead of all pairs. overrides: as --set has them.
    threads: None for all cores."""

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


@dataclass(frozen=True)
class Assessment:
    """metrics: by name. facts: how many of what were compared and how. notes: what a reader should know.
    evaluation: None for a list of pairs."""

    metrics: Mapping[str, Estimate]
    facts: Mapping[str, Any]
    notes: Sequence[str]
    evaluation: Evaluation | None = None


def assess(request: Request, registry: Registry, progress: Progress) -> Assessment:
    """Evaluate a file of embeddings. Raises SuiteError or OptionError for a wrong option,
    DataError for wrong data."""
    if request.calibration is not None and request.share:
        raise OptionError("--calibration and --calibration-share both fit the threshold; give one of them")
    if request.pairs is not None and (request.calibration is not None or request.share):
        raise OptionError("--pairs fits its thresholds on the other folds; leave out --calibration")
    if request.pairs is not None and request.gallery is not None:
        raise OptionError("--pairs already states which images are compared; leave out --gallery")
    base = _BASE_PAIRS if request.pairs else _BASE
    policy_part, metrics, settings = evaluation_parts(base, request.overrides, registry)
    if settings.gallery != "test":
        raise OptionError(
            f"evaluation.gallery={settings.gallery} is for suites; name a file with --gallery, or give FILE "
            "the arrays queries and gallery"
        )
    policy = policy_part.component.build()
    measures = [Measure(part.component.build(), part.component.quantities()) for part in metrics.values()]
    embeddings = read_embeddings(request.file, request.labels, needs_labels=request.pairs is None)
    if request.pairs is not None:
        pairs = read_pairs(request.pairs, len(embeddings), request.folds)
        judged = evaluate_folds(embeddings, pairs, policy, measures, settings.level)
        similarity = mean_similarity(embeddings)
        facts = {**judged.facts, "thresholds": judged.thresholds, "mean_similarity": similarity}
        collapsed = collapse(similarity, embeddings.name)
        return Assessment(judged.metrics, facts, [*judged.notes, *([collapsed] if collapsed else [])])
    calibration = None
    if request.calibration is not None:
        calibration = read_embeddings(request.calibration, name=f"calibration {request.calibration.name}")
        _check_width(calibration, embeddings, "a threshold holds for the model that it was fitted on")
    elif request.share:
        embeddings, calibration = _set_apart(embeddings, request.share, request.seed)
    fitted_on = calibration
    if request.gallery is not None:
        gallery = read_embeddings(request.gallery, name=request.gallery.name)
        _check_width(gallery, embeddings, "only embeddings of one model can be compared")
        embeddings = _searching(embeddings, gallery)
        calibration = None if calibration is None else _searching(calibration, gallery)
    engine = Engine(
        memory=settings.memory_mib << 20,
        products=settings.products,
        resamples=settings.resamples,
        level=settings.level,
        threads=request.threads,
        progress=progress,
    )
    threshold = _threshold(policy, _placed(calibration, request.device), engine, request.seed)
    generator = numpy_generator(request.seed, "bootstrap")
    result = evaluate(_placed(embeddings, request.device), threshold, measures, generator, engine)
    facts, notes = result.plain(), result.notes
    if repeats := repeated_rows(embeddings):
        notes.append(repeats)
    if fitted_on is not None:
        members = fitted_on.queries | fitted_on.gallery
        images, classes = int(members.sum()), len(np.unique(fitted_on.labels[members]))
        facts["calibration"] = {"images": images, "classes": classes}
        notes.insert(0, f"the threshold was fitted on {images:,} other images of {classes:,} classes")
    return Assessment(result.metrics, facts, notes, result)


def _check_width(other: Embeddings, embeddings: Embeddings, reason: str) -> None:
    widths = [int(each.vectors.shape[1]) for each in (embeddings, other)]
    if widths[0] != widths[1]:
        raise DataError(
            f"{other.name}: {widths[1]} dimensions, but {embeddings.name} has {widths[0]}; {reason}"
        )


def _searching(embeddings: Embeddings, gallery: Embeddings) -> Embeddings:
    """The queries of the embeddings against another gallery."""
    kinds = ["numbers" if each.labels.dtype.kind in "biuf" else "texts" for each in (embeddings, gallery)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{gallery.name}: its labels are {kinds[1]}, those of {embeddings.name} {kinds[0]}; "
            "a class needs the same label in both"
        )
    return against(embeddings, gallery)


def _threshold(policy: Any, calibration: Embeddings | None, engine: Engine, seed: int) -> Threshold:
    if calibration is not None:
        return calibrate(policy, calibration, engine, numpy_generator(seed, "threshold"))
    known = fit_threshold(policy, None)
    advice = "give --calibration FILE, or --calibration-share 0.5 to set half of the classes apart for it"
    return replace(known, note=advice) if known.similarity is None else known


def _set_apart(embeddings: Embeddings, share: float, seed: int) -> tuple[Embeddings, Embeddings]:
    """Test and calibration: a share of the classes, drawn by the seed, for the threshold alone."""
    classes = in_order(np.unique(embeddings.labels))
    drawn = numpy_generator(seed, "calibration").permutation(len(classes))
    count = round(share * len(classes))
    if min(count, len(classes) - count) < 2:
        raise DataError(
            f"{embeddings.name}: a share of {share:g} of {len(classes)} classes leaves one side fewer than 2"
        )
    inside = np.isin(embeddings.labels, classes[drawn[:count]])
    return _part(embeddings, ~inside, embeddings.name), _part(embeddings, inside, "calibration classes")


def _part(embeddings: Embeddings, members: np.ndarray, name: str) -> Embeddings:
    """Some images, without a copy of the vectors."""
    queries, gallery = embeddings.queries & members, embeddings.gallery & members
    return replace(embeddings, queries=queries, gallery=gallery, name=name)


def _placed(embeddings: Embeddings | None, device: str) -> Any:
    """The embeddings on a device; an array on the CPU."""
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

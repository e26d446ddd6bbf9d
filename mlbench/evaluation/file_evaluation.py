"""Evaluation of a file of embeddings, without a suite or training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlbench.contracts import ThresholdPolicy
from mlbench.errors import DataError, OptionError
from mlbench.evaluation.embedding_files import read_embeddings
from mlbench.evaluation.embeddings import Embeddings, collapse_note, mean_similarity
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.file_judge import EvaluationRequest, FileEvaluation, Judge
from mlbench.evaluation.gallery_evaluation import check_width, evaluate_against, restrict
from mlbench.evaluation.labels import sort_labels
from mlbench.evaluation.pair_counter import Progress
from mlbench.evaluation.pair_files import read_pairs
from mlbench.evaluation.pair_list_evaluation import evaluate_pair_list
from mlbench.planning.plugin_code import named
from mlbench.planning.spec import EvaluationSettings
from mlbench.planning.suite import evaluation_parts
from mlbench.registry import Registry
from mlbench.seeding import numpy_generator

__all__ = ["EvaluationRequest", "FileEvaluation", "evaluate_file"]

#: Metrics and threshold policy by default, over all pairs and over a list of pairs.
_BASE = {"metrics": ["retrieval", "verification"], "threshold": "best_f1"}
_BASE_PAIRS = {"metrics": ["verification"], "threshold": "best_accuracy"}


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
    judge = Judge(request, policy, built, settings, progress)
    calibration = None
    if request.calibration is not None:
        calibration = read_embeddings(request.calibration, name=f"calibration {request.calibration.name}")
        check_width(calibration, embeddings, "a threshold is only valid for the model it was fitted on")
    elif request.share:
        embeddings, calibration = _split_off_calibration(embeddings, request.share, request.seed)
    if request.gallery is None:
        return judge.evaluated(embeddings, calibration, calibration, request.file, images=images)
    return evaluate_against(embeddings, calibration, request.gallery, judge)


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
    return restrict(embeddings, ~inside, embeddings.name), restrict(embeddings, inside, "calibration classes")

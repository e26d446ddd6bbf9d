"""Evaluation of a case: a threshold fitted on calibration images, metrics on those of the scored split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from mlbench.contracts import PairedDataset, SplitName
from mlbench.evaluation.calibration import calibrate
from mlbench.evaluation.embeddings import Embeddings, prefixes
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.protocol import describe_protocol
from mlbench.evaluation.split_evaluation import SplitEvaluation, evaluate_split
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plan import Case
from mlbench.records.widths import nested_estimates
from mlbench.seeding import numpy_generator
from mlbench.training.comparisons import compared

__all__ = ["build_engine", "evaluate_case", "fitted_threshold", "score"]

Embed = Callable[[SplitName], Embeddings]

#: Facts that a record keeps of the evaluation at each nested width.
_OF_A_WIDTH = ("threshold", "mean_similarity", "pair_list")


def evaluate_case(case: Case, embed: Embed, progress: Callable[[int, int], None]) -> SplitEvaluation:
    """Every metric of a case, also at each nested width. embed: embeddings of a split by the trained model.
    progress: of the scored images."""
    embed = cache(embed)  # calibration and test may have the same gallery
    calibration = compared(case, "calibration", embed)
    scored = compared(case, case.spec.evaluation.split, embed)
    nested, passes = case.spec.widths.nested, max(len(case.spec.widths.values), 1)
    engines = [build_engine(case, _part_of(progress, at, passes)) for at in range(passes)]
    threshold = fitted_threshold(case, calibration, engines[0])
    found = score(case, scored, threshold, engines[0], with_details=True)
    for width, engine in zip(nested, engines[1:], strict=True):
        fitted = fitted_threshold(case, prefixes(calibration, width), engine)
        inner = score(case, prefixes(scored, width), fitted, engine)
        found = _with_width(found, inner, width)
    protocol = {
        **found.facts.get("protocol", {}),
        "gallery": case.spec.evaluation.gallery,
        "calibration": describe_protocol(calibration),
    }
    if case.spec.evaluation.split == "train":
        protocol |= {"split": "train", "text": f"its own training images: {protocol['text']}"}
    return replace(found, facts={**found.facts, "protocol": protocol})


def _part_of(progress: Callable[[int, int], None], at: int, passes: int) -> Callable[[int, int], None]:
    """The progress of one of several passes over the same images."""
    return lambda done, total: progress(at * total + done, passes * total)


def _with_width(found: SplitEvaluation, inner: SplitEvaluation, width: int) -> SplitEvaluation:
    """An evaluation with that of a nested width, whose notes are added where they are not those of all."""
    facts = {name: inner.facts[name] for name in _OF_A_WIDTH if name in inner.facts}
    return replace(
        found,
        metrics={**found.metrics, **nested_estimates(inner.metrics, width)},
        facts={**found.facts, "widths": {**found.facts.get("widths", {}), str(width): facts}},
        notes=[*found.notes, *(f"width {width}: {note}" for note in inner.notes if note not in found.notes)],
    )


def build_engine(case: Case, progress: Callable[[int, int], None] = lambda done, total: None) -> Engine:
    """The evaluation engine with the settings of the case's suite."""
    chosen = case.spec.evaluation
    return Engine(
        memory=chosen.memory_mib << 20,
        products=chosen.products,
        resamples=chosen.resamples,
        level=chosen.level,
        progress=progress,
    )


def fitted_threshold(case: Case, calibration: Embeddings, engine: Engine) -> Threshold:
    """The threshold of the case's policy on calibration embeddings (see `compared`)."""
    part = case.spec.parts["threshold"]
    with part.blamed():
        generator = numpy_generator(case.seed, "threshold")
        return calibrate(part.component.build(), calibration, engine, generator)


def score(
    case: Case,
    embeddings: Embeddings,
    threshold: Threshold,
    engine: Engine,
    *,
    with_details: bool = False,
) -> SplitEvaluation:
    """Every metric of the case at a threshold. embeddings: of its scored images (see `compared`).
    with_details: whether to find the details of the evaluation, too."""
    policy = case.spec.parts["threshold"]
    metrics = [BuiltMetric.of(part.component, str(part)) for part in case.spec.metrics.values()]
    pairs = None
    if isinstance(case.dataset, PairedDataset) and case.spec.evaluation.split == "test":
        pairs = case.dataset.pairs()
    generator = numpy_generator(case.seed, "bootstrap")
    details = numpy_generator(case.seed, "details") if with_details else None
    with policy.blamed():  # a metric's errors are PluginErrors already
        return evaluate_split(
            embeddings, pairs, policy.component.build(), threshold, metrics, generator, engine, details
        )

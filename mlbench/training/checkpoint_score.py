"""The score of a model on the calibration split, by which the checkpoint to keep is selected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mlbench.contracts.evaluation import CurveMetric
from mlbench.contracts.options import Recipe
from mlbench.evaluation.all_pairs_evaluation import evaluate_all_pairs
from mlbench.evaluation.calibration import calibrate
from mlbench.evaluation.embeddings import Embeddings, prefixes
from mlbench.evaluation.engine import Engine, verification_curve
from mlbench.evaluation.estimates import BuiltMetric
from mlbench.evaluation.threshold import Threshold
from mlbench.planning.plan import Case
from mlbench.records.record import Estimate
from mlbench.seeding import numpy_generator

__all__ = ["build_score", "curve_name"]


def curve_name(recipe: Recipe) -> str:
    """Name of the curve of scores in a record."""
    return f"calibration_{recipe.select_by or 'f1'}"


def build_score(case: Case, engine: Engine) -> Callable[[Embeddings], Estimate]:
    """A function from calibration embeddings to what `recipe.select_by` names: the best F1 of any threshold,
    or a value of a metric, the only one that is evaluated, at the threshold that the case's policy fits on
    these embeddings."""
    name = case.recipe.select_by
    engine = replace(engine, resamples=0)
    if not name:
        return lambda embeddings: Estimate(float(verification_curve(embeddings, engine).fbeta().max()))
    name, width = case.spec.width_of(name)
    part = case.spec.metric_of(name)
    built = BuiltMetric.of(part.component, str(part))
    policy_part = case.spec.parts["threshold"]
    policy = policy_part.component.build()
    generator = numpy_generator(case.seed, "bootstrap")  # draws nothing

    def score(embeddings: Embeddings) -> Estimate:
        if width is not None:
            embeddings = prefixes(embeddings, width)
        threshold = Threshold(None)
        if isinstance(built.metric, CurveMetric):
            with policy_part.blamed():
                threshold = calibrate(policy, embeddings, engine, generator)
        return evaluate_all_pairs(embeddings, threshold, [built], generator, engine).metrics[name]

    return score

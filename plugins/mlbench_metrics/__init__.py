"""Metrics and threshold policies that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

_THRESHOLDS = "mlbench_metrics.thresholds"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "metric",
            "retrieval",
            "mlbench_metrics.retrieval:Retrieval",
            "Recall@K, Precision@K, R-Precision, MAP@R, mAP, MRR",
            "arXiv:2003.08505",
        ),
        Component(
            "metric",
            "verification",
            "mlbench_metrics.verification:Verification",
            "F1 and others at the fitted threshold, AUROC, EER, TPR@FPR over all pairs",
        ),
        Component("threshold", "best_f1", f"{_THRESHOLDS}:BestF1", "best F1 of precision and recall"),
        Component("threshold", "best_fbeta", f"{_THRESHOLDS}:BestFBeta", "best F-beta"),
        Component(
            "threshold", "best_accuracy", f"{_THRESHOLDS}:BestAccuracy", "most pairs classified correctly"
        ),
        Component(
            "threshold",
            "precision_at_least",
            f"{_THRESHOLDS}:PrecisionAtLeast",
            "best recall at a given precision",
        ),
        Component(
            "threshold",
            "fpr_at_most",
            f"{_THRESHOLDS}:FprAtMost",
            "best recall at a given false positive rate",
        ),
        Component("threshold", "fixed", f"{_THRESHOLDS}:Fixed", "a given distance, cosine or Euclidean"),
    ]

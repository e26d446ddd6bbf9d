"""Metrics and threshold policies."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl

__all__ = ["mlbench_components"]

_THRESHOLDS = "mlbench_metrics.thresholds"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="metric",
            name="retrieval",
            factory="mlbench_metrics.retrieval:Retrieval",
            predict="mlbench_metrics.retrieval:quantities",
            summary="Recall@K, Precision@K, R-Precision, MAP@R, mAP, MRR",
            source="arXiv:2003.08505",
        ),
        Component(
            kind="metric",
            name="verification",
            factory="mlbench_metrics.verification:Verification",
            predict="mlbench_metrics.verification:quantities",
            summary="F1 and others at the fitted threshold, AUROC, EER, TPR@FPR over all pairs",
        ),
        Component(
            kind="threshold",
            name="best_f1",
            factory=f"{_THRESHOLDS}:best_f1",
            summary="best F1 of precision and recall",
        ),
        Component(
            kind="threshold",
            name="best_fbeta",
            factory=f"{_THRESHOLDS}:BestFBeta",
            summary="best F-beta",
        ),
        Component(
            kind="threshold",
            name="best_accuracy",
            factory=f"{_THRESHOLDS}:BestAccuracy",
            summary="most pairs judged rightly",
        ),
        Component(
            kind="threshold",
            name="precision_at_least",
            factory=f"{_THRESHOLDS}:PrecisionAtLeast",
            summary="best recall at a given precision",
        ),
        Component(
            kind="threshold",
            name="fpr_at_most",
            factory=f"{_THRESHOLDS}:FprAtMost",
            summary="best recall at a given false positive rate",
        ),
        Component(
            kind="threshold",
            name="fixed",
            factory=f"{_THRESHOLDS}:Fixed",
            summary="a given distance, cosine or Euclidean",
        ),
    ]

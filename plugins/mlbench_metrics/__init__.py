"""Metrics and threshold policies that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("metric", "retrieval", "retrieval:Retrieval", "arXiv:2003.08505",
     "Recall@K, Precision@K, R-Precision, MAP@R, mAP, MRR"),
    ("metric", "verification", "verification:Verification", "",
     "F1 and others at the fitted threshold, AUROC, EER, TPR@FPR over all pairs"),
    ("threshold", "best_f1", "thresholds:BestF1", "",
     "best F1 of precision and recall"),
    ("threshold", "best_fbeta", "thresholds:BestFBeta", "",
     "best F-beta"),
    ("threshold", "best_accuracy", "thresholds:BestAccuracy", "",
     "most pairs classified correctly"),
    ("threshold", "precision_at_least", "thresholds:PrecisionAtLeast", "",
     "best recall at a given precision"),
    ("threshold", "fpr_at_most", "thresholds:FprAtMost", "",
     "best recall at a given false positive rate"),
    ("threshold", "fixed", "thresholds:Fixed", "",
     "a given distance, cosine or Euclidean"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

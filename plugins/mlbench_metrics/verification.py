"""Verification metrics: are two images of one class? Over all pairs, at the fitted threshold and at all
others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mlbench.plugin import MetricOptions, Quantity

if TYPE_CHECKING:
    from mlbench.plugin import Curve

__all__ = ["Verification"]

_Rate = Annotated[float, Field(gt=0, lt=1)]


class Verification(MetricOptions):
    """F1 and others at the fitted threshold, and values over all thresholds.

        precision = TP / (TP + FP)
        recall    = TP / (TP + FN) = TPR,  FPR = FP / (FP + TN)
        F-beta    = (1 + beta^2) * TP / ((1 + beta^2) * TP + beta^2 * FN + FP)
        accuracy  = (TP + TN) / all pairs

    TP, FN: accepted and rejected pairs of one class; FP, TN: of two classes. A pair is accepted whose cosine
    is at least the threshold. At the fitted threshold: precision, recall, F1, F-beta and accuracy. Over all
    thresholds: the best F1 on the same pairs (optimistic) and its lead over F1 at the fitted threshold,
    AUROC, average precision, equal error rate, and for each false positive rate x the best recall of a
    threshold with an FPR of at most x (TPR@FPR, also TAR@FAR), its complement (FNMR@FMR) and that threshold.
    A rate that a single false pair would exceed is not resolvable and has no values.
    """

    beta: Annotated[float, Field(gt=0)] = 0.5
    """Weight of recall in F-beta, above 0; below 1 when a false match is worse than a miss."""
    fpr: tuple[_Rate, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    """False positive rates x, each in (0, 1)."""

    def quantities(self) -> Mapping[str, Quantity]:
        f1 = Quantity("F1 over all pairs at the fitted threshold", heading="F1", headline=True)
        fbeta = Quantity(f"F-beta with beta {self.beta:g} at the fitted threshold")
        found = {
            "f1": f1,
            f"f{self.beta:g}": f1 if self.beta == 1 else fbeta,
            "precision": Quantity("precision over all pairs at the fitted threshold", heading="precision"),
            "recall": Quantity("recall over all pairs at the fitted threshold", heading="recall"),
            "accuracy": Quantity(
                "share of all pairs classified correctly at the fitted threshold", pair_list_headline=True
            ),
            "f1_optimistic": Quantity(
                "best F1 of any threshold on these pairs themselves", heading="F1 optimistic"
            ),
            "f1_optimistic_threshold": Quantity("the threshold of f1_optimistic", "distance", None),
            "f1_gap": Quantity("f1_optimistic - f1", higher_is_better=False),
            "auroc": Quantity("chance that a positive pair is more similar than a negative one"),
            "average_precision": Quantity("area under precision over recall, as a sum over thresholds"),
            "eer": Quantity("equal error rate: where FPR equals 1 - TPR", higher_is_better=False),
        }
        for rate in self.fpr:
            tpr, fnmr, threshold = _names_at(rate)
            found |= {
                tpr: Quantity(f"best recall with at most {rate:g} of the negatives accepted"),
                fnmr: Quantity(f"1 - TPR at FPR {rate:g}", higher_is_better=False),
                threshold: Quantity(f"the threshold of {tpr}", "distance", None),
            }
        return found

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, Any]:
        """See the class."""
        import numpy as np

        found: dict[str, Any] = {}
        f1 = curve.fbeta()
        best = np.argmax(f1, axis=-1)
        # Thresholds are plain numbers without an interval; a resample's are not needed.
        resampled = f1.ndim > 1
        optimistic = np.max(f1, axis=-1)
        if threshold is None:
            names = ("f1", f"f{self.beta:g}", "precision", "recall", "accuracy", "f1_gap")
            found |= dict.fromkeys(dict.fromkeys(names), "no threshold was fitted")
        else:
            at = curve.at(threshold)
            fitted = at.fbeta()[..., 0]
            found |= {
                "f1": fitted,
                f"f{self.beta:g}": at.fbeta(self.beta)[..., 0],
                "precision": at.precision[..., 0] if threshold <= 1 else "no pair is accepted",
                "recall": at.tpr[..., 0],
                "accuracy": at.accuracy[..., 0],
                "f1_gap": optimistic - fitted,
            }
        found |= {
            "f1_optimistic": optimistic,
            "f1_optimistic_threshold": 0.0 if resampled else float(curve.distances[best]),
            "auroc": curve.auroc,
            "average_precision": curve.average_precision,
            "eer": curve.eer,
        }
        for rate in self.fpr:
            found |= _at_rate(curve, rate)
        return found


def _names_at(rate: float) -> tuple[str, str, str]:
    """Names of the values at a false positive rate: 0.001 is "1e-3" in them, 0.05 "0.05"."""
    digits, exponent = f"{rate:e}".split("e")
    text = f"1e{int(exponent)}" if float(digits) == 1 else f"{rate:g}"
    return f"tpr_at_fpr_{text}", f"fnmr_at_fmr_{text}", f"threshold_at_fpr_{text}"


def _at_rate(curve: Curve, rate: float) -> dict[str, Any]:
    keys = _names_at(rate)
    resampled = curve.true_positives.ndim > 1
    if not resampled and not curve.resolvable(rate):
        have, need = curve.distinct_negatives, 1 / rate
        return dict.fromkeys(keys, f"not resolvable: {have:,} different negative pairs, {need:,.0f} needed")
    tpr = curve.tpr_at_fpr(rate)
    at: float | str = 0.0
    if not resampled:
        strict = curve.strictest(curve.within(rate))
        at = "no threshold accepts a positive pair at this rate" if strict is None else 1.0 - strict
    return dict(zip(keys, (tpr, 1.0 - tpr, at), strict=True))

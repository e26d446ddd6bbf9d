"""Verification: are two images of one class? Over all pairs, at the fitted threshold and at every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mlbench.contracts import Quantity

if TYPE_CHECKING:
    from mlbench.evaluation.curve import Curve

__all__ = ["Verification", "quantities"]

Rates = list[Annotated[float, Field(gt=0, lt=1)]]
Beta = Annotated[float, Field(gt=0)]

_RATES = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]


def _name(number: float) -> str:
    """0.001 as "1e-3", 0.05 as "0.05"."""
    digits, exponent = f"{number:e}".split("e")
    lead = float(digits)
    return f"{lead:g}e{int(exponent)}" if lead == 1 else f"{number:g}"


class Verification:
    """Precision, recall, F1, F-beta and accuracy at the fitted threshold; the best F1 of any threshold on the
    same pairs (optimistic) and its lead over the honest one; AUROC, average precision, equal error rate; and
    for false positive rates x the best recall of a threshold that keeps to x (TPR@FPR, also TAR@FAR), its
    complement (FNMR@FMR) and that threshold. A rate that one false pair would exceed is not resolvable.

    Options
    -------
    beta: of F-beta, below 1 when a false match is worse than a miss.
    fpr: the rates x, each in (0, 1).
    """

    def __init__(self, *, beta: Beta = 0.5, fpr: Rates = _RATES) -> None:
        self._beta = beta
        self._rates = fpr

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, Any]:
        """See the class."""
        import numpy as np

        found: dict[str, Any] = {}
        f1 = curve.fbeta()
        best = np.argmax(f1, axis=-1)
        # A threshold is chosen, not estimated: a plain number, which gets no interval.
        resampled = f1.ndim > 1
        optimistic = np.max(f1, axis=-1)
        if threshold is None:
            names = ("f1", f"f{self._beta:g}", "precision", "recall", "accuracy", "f1_gap")
            found |= dict.fromkeys(dict.fromkeys(names), "no threshold was fitted")
        else:
            at = curve.at(threshold)
            honest = at.fbeta()[..., 0]
            found |= {
                "f1": honest,
                f"f{self._beta:g}": at.fbeta(self._beta)[..., 0],
                "precision": at.precision[..., 0],
                "recall": at.tpr[..., 0],
                "accuracy": at.accuracy[..., 0],
                "f1_gap": optimistic - honest,
            }
        found |= {
            "f1_optimistic": optimistic,
            "f1_optimistic_threshold": 0.0 if resampled else float(curve.distances[best]),
            "auroc": curve.auroc,
            "average_precision": curve.average_precision,
            "eer": curve.eer,
        }
        for rate in self._rates:
            found |= self._at_rate(curve, rate)
        return found

    @staticmethod
    def _at_rate(curve: Curve, rate: float) -> dict[str, Any]:
        name = _name(rate)
        keys = (f"tpr_at_fpr_{name}", f"fnmr_at_fmr_{name}", f"threshold_at_fpr_{name}")
        resampled = curve.accepted.ndim > 1
        if not resampled and not curve.resolvable(rate):
            have, need = curve.distinct_negatives, 1 / rate
            return dict.fromkeys(
                keys, f"not resolvable: {have:,} different negative pairs, {need:,.0f} needed"
            )
        tpr = curve.tpr_at_fpr(rate)
        at: float | str = 0.0
        if not resampled:
            strict = curve.strictest(curve.within(rate))
            at = "no threshold accepts a positive pair at this rate" if strict is None else 1.0 - strict
        return dict(zip(keys, (tpr, 1.0 - tpr, at), strict=True))


def quantities(*, beta: Beta = 0.5, fpr: Rates = _RATES) -> dict[str, Quantity]:
    """What `Verification` measures."""
    found = {
        "f1": Quantity("F1 over all pairs at the fitted threshold", heading="F1", headline=True),
        f"f{beta:g}": Quantity(f"F-beta with beta {beta:g} at the fitted threshold"),
        "precision": Quantity("precision over all pairs at the fitted threshold", heading="precision"),
        "recall": Quantity("recall over all pairs at the fitted threshold", heading="recall"),
        "accuracy": Quantity(
            "share of all pairs judged correctly at the fitted threshold", pair_list_headline=True
        ),
        "f1_optimistic": Quantity(
            "best F1 of any threshold on these pairs themselves", heading="F1 optimistic"
        ),
        "f1_optimistic_threshold": Quantity("the threshold that reaches it", "distance", None),
        "f1_gap": Quantity("by how much the optimistic F1 is above the honest one", higher_is_better=False),
        "auroc": Quantity("chance that a positive pair is more similar than a negative one"),
        "average_precision": Quantity("area under precision over recall, as a sum over thresholds"),
        "eer": Quantity("equal error rate: where FPR meets 1 - TPR", higher_is_better=False),
    }
    for rate in fpr:
        name = _name(rate)
        found |= {
            f"tpr_at_fpr_{name}": Quantity(f"best recall with at most {rate:g} of the negatives accepted"),
            f"fnmr_at_fmr_{name}": Quantity(f"1 - TPR at FPR {rate:g}", higher_is_better=False),
            f"threshold_at_fpr_{name}": Quantity("the threshold that reaches it", "distance", None),
        }
    return found

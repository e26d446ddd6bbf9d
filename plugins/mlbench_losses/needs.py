"""What losses need of a batch to learn from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mlbench.contracts import Need

__all__ = ["LIBRARY", "PAIRS"]

#: Of a loss that compares the images of a batch by their labels. Without pairs of two classes it is 0, or
#: draws all images to one point; without pairs of one class it is 0, or drives all images apart.
PAIRS: tuple[Need, ...] = ("positives", "negatives")

#: Of the losses of pytorch-metric-learning, by class name. One that is not here needs nothing of a batch,
#: as it compares images with weights of its own for each class, or is not known.
#: CrossBatchMemory finds pairs in its memory. IntraPairVarianceLoss has a term for each kind of pair, either
#: of which can stand alone. SmoothAPLoss takes the number of classes in a batch for the number of images of
#: each.
LIBRARY: Mapping[str, tuple[Need, ...]] = MappingProxyType(
    {
        "AngularLoss": PAIRS,
        "CircleLoss": PAIRS,
        "ContrastiveLoss": PAIRS,
        "DynamicSoftMarginLoss": PAIRS,
        "FastAPLoss": PAIRS,
        "GeneralizedLiftedStructureLoss": PAIRS,
        "HistogramLoss": PAIRS,
        "LiftedStructureLoss": PAIRS,
        "MarginLoss": PAIRS,
        "MultiSimilarityLoss": PAIRS,
        "NCALoss": PAIRS,
        "NPairsLoss": PAIRS,
        "NTXentLoss": PAIRS,
        "PNPLoss": PAIRS,
        "RankedListLoss": PAIRS,
        "SignalToNoiseRatioContrastiveLoss": PAIRS,
        "SmoothAPLoss": (*PAIRS, "square"),
        "SupConLoss": PAIRS,
        "ThresholdConsistentMarginLoss": PAIRS,
        "TripletMarginLoss": PAIRS,
        "TupletMarginLoss": PAIRS,
    }
)

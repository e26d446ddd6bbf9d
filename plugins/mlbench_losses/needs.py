"""What losses need in a batch to learn from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mlbench.plugin import Need

__all__ = ["LIBRARY_NEEDS", "PAIRS"]

#: Needs of a loss that compares the images of a batch by their labels. Without negative pairs the loss is 0,
#: or pulls all embeddings together; without positive pairs it is 0, or pushes all embeddings apart.
PAIRS: tuple[Need, ...] = ("positives", "negatives")

#: Needs of the losses of pytorch-metric-learning, by class name. Losses that are not listed need nothing:
#: they compare images with weights for each class, or are not known. CrossBatchMemory has pairs in its
#: memory. IntraPairVarianceLoss has a term for each kind of pair and works with one of them. SmoothAPLoss
#: uses the number of classes in a batch as the number of images of each class.
LIBRARY_NEEDS: Mapping[str, tuple[Need, ...]] = MappingProxyType(
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

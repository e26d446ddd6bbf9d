"""What every component promises: its kind, a Protocol for what it builds, and the values that pass between.

The options classes stand in `mlbench.contracts.options`, which imports pydantic; nothing here does, so that
`mlbench list` answers at once. Protocols need no inheritance: an object that has the members fits.
"""

from __future__ import annotations

from mlbench.contracts.catalogue import CatalogueItem
from mlbench.contracts.claims import Cases, Effect, Finding
from mlbench.contracts.component import CONTRACT, OLDEST_CONTRACT, Component
from mlbench.contracts.data import (
    GALLERY,
    QUERY,
    SPLITS,
    Augmentation,
    DataCheck,
    DataProgress,
    Dataset,
    DataSource,
    DataState,
    GroupedSplit,
    LocatedSplit,
    Mixed,
    Mixing,
    PairedDataset,
    PairList,
    PartCount,
    Split,
    SplitName,
)
from mlbench.contracts.evaluation import (
    ACCEPT_NOTHING,
    CurveMetric,
    EmbeddingMetric,
    Quantity,
    RankMetric,
    Target,
    ThresholdPolicy,
)
from mlbench.contracts.kinds import EVERY_KIND, KINDS, Duty, Kind
from mlbench.contracts.learning import (
    BatchSampler,
    CentreLoss,
    CentreSampler,
    Distiller,
    MixedLoss,
    PairLoss,
    RegularisedLoss,
    RowSampler,
)
from mlbench.contracts.network import Backbone, Neck
from mlbench.contracts.section import Chart, Part, Section
from mlbench.contracts.shapes import (
    Advice,
    BackboneShape,
    BatchesShape,
    CentresShape,
    Choice,
    Features,
    FeatureShape,
    LossShape,
    NeckShape,
    Need,
    TokensShape,
)
from mlbench.contracts.tracking import FinishedRun, TrackedCase, Tracker

__all__ = [
    "ACCEPT_NOTHING",
    "CONTRACT",
    "EVERY_KIND",
    "GALLERY",
    "KINDS",
    "OLDEST_CONTRACT",
    "QUERY",
    "SPLITS",
    "Advice",
    "Augmentation",
    "Backbone",
    "BackboneShape",
    "BatchSampler",
    "BatchesShape",
    "Cases",
    "CatalogueItem",
    "CentreLoss",
    "CentreSampler",
    "CentresShape",
    "Chart",
    "Choice",
    "Component",
    "CurveMetric",
    "DataCheck",
    "DataProgress",
    "DataSource",
    "DataState",
    "Dataset",
    "Distiller",
    "Duty",
    "Effect",
    "EmbeddingMetric",
    "FeatureShape",
    "Features",
    "Finding",
    "FinishedRun",
    "GroupedSplit",
    "Kind",
    "LocatedSplit",
    "LossShape",
    "Mixed",
    "MixedLoss",
    "Mixing",
    "Neck",
    "NeckShape",
    "Need",
    "PairList",
    "PairLoss",
    "PairedDataset",
    "Part",
    "PartCount",
    "Quantity",
    "RankMetric",
    "RegularisedLoss",
    "RowSampler",
    "Section",
    "Split",
    "SplitName",
    "Target",
    "ThresholdPolicy",
    "TokensShape",
    "TrackedCase",
    "Tracker",
]

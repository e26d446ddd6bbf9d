"""What every component promises: the kinds, the Component that registers one, and a Protocol for each.

A component is registered with a *factory*, a function or class that is imported only when it is used.

- Its keyword-only parameters are the component's **options**: what a suite file may set. Their type
  hints (``Annotated[int, Field(ge=1)]`` for a range) and defaults are the whole schema; there is no
  other place to declare them.
- Its ordinary parameters are **provided** by mlbench, by name, as pytest provides fixtures: a factory
  asks for what it needs out of what its kind provides (see `KINDS`) and leaves out the rest.

A factory's module is imported to validate a suite. Keep heavy imports (torch, timm) inside the factory
and `mlbench validate` stays instant.

Nothing here needs inheritance: an object that has the members fits.
"""

from __future__ import annotations

from mlbench.contracts.component import (
    KINDS,
    Advice,
    BackboneShape,
    BatchesShape,
    CentresShape,
    Choice,
    Component,
    FeatureShape,
    Kind,
    LossShape,
    NeckShape,
    Need,
    TokensShape,
)
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
    Mixed,
    Mixing,
    PairedDataset,
    PairList,
    PartCount,
    Split,
    SplitName,
)
from mlbench.contracts.evaluation import (
    CurveMetric,
    EmbeddingMetric,
    Quantity,
    RankMetric,
    Target,
    ThresholdPolicy,
)
from mlbench.contracts.learning import (
    BatchSampler,
    CentreLoss,
    CentreSampler,
    Distiller,
    MixedLoss,
    PairLoss,
    Recipe,
    RowSampler,
)
from mlbench.contracts.network import (
    Backbone,
    Neck,
)

__all__ = [
    "GALLERY",
    "KINDS",
    "QUERY",
    "SPLITS",
    "Advice",
    "Augmentation",
    "Backbone",
    "BackboneShape",
    "BatchSampler",
    "BatchesShape",
    "CentreLoss",
    "CentreSampler",
    "CentresShape",
    "Choice",
    "Component",
    "CurveMetric",
    "DataCheck",
    "DataProgress",
    "DataSource",
    "DataState",
    "Dataset",
    "Distiller",
    "EmbeddingMetric",
    "FeatureShape",
    "GroupedSplit",
    "Kind",
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
    "PartCount",
    "Quantity",
    "RankMetric",
    "Recipe",
    "RowSampler",
    "Split",
    "SplitName",
    "Target",
    "ThresholdPolicy",
    "TokensShape",
]

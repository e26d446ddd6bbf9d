"""Options classes, one base class a kind: the fields are the options, the methods build and describe.

A component is a subclass of its kind's class. Its fields, with type hints, defaults and docstrings, are the
whole schema of what a suite may set. A suite is validated by importing the class, so torch and other large
packages are imported inside `build`.

What building depends on besides the options is an argument: a value or, where there are several, a small
frozen context. `predict` gets the same as `build` and answers without torch: `mlbench plan` shows sizes and
refuses wrong choices early. It returns None where only building can tell.

Metrics, threshold policies, recipes, mixings and augmentations without state need no second object: their
`build` returns the options themselves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mlbench.contracts.base import NESTED, Options
from mlbench.contracts.claims import Cases
from mlbench.contracts.kinds import KINDS
from mlbench.contracts.recipe import TRAINED_PARTS, Recipe
from mlbench.contracts.shapes import (
    Advice,
    BackboneShape,
    BatchesShape,
    CentresShape,
    Features,
    LossShape,
    NeckShape,
)

if TYPE_CHECKING:
    import numpy as np

    from mlbench.claims.evidence import Evidence
    from mlbench.contracts.claims import Finding
    from mlbench.contracts.data import Augmentation, Dataset, DataSource, Mixing
    from mlbench.contracts.evaluation import (
        CurveMetric,
        EmbeddingMetric,
        Quantity,
        RankMetric,
        ThresholdPolicy,
    )
    from mlbench.contracts.learning import BatchSampler, CentreLoss, CentreSampler, Distiller, PairLoss
    from mlbench.contracts.network import Backbone, Neck
    from mlbench.contracts.section import Section
    from mlbench.contracts.tracking import Tracker
    from mlbench.page.context import PageContext

__all__ = [
    "BASES",
    "NESTED",
    "PREDICTIONS",
    "TRAINED_PARTS",
    "AugmentationOptions",
    "BackboneOptions",
    "BatchContext",
    "BatchSamplerOptions",
    "ClaimOptions",
    "DatasetContext",
    "DatasetOptions",
    "DistillerContext",
    "DistillerOptions",
    "HeadContext",
    "LossContext",
    "LossOptions",
    "MetricOptions",
    "MixingOptions",
    "NeckOptions",
    "Options",
    "Recipe",
    "SamplerContext",
    "SamplerOptions",
    "SectionOptions",
    "ThresholdOptions",
    "TrackerContext",
    "TrackerOptions",
    "TrainedOptions",
]


@dataclass(frozen=True, slots=True)
class DatasetContext:
    """What a data set is built for.

    root: where relative paths of a suite start. image_size: pixels of a side of the case's square images.
    """

    root: Path
    image_size: int


class DatasetOptions(Options):
    """Options of a data set."""

    @abstractmethod
    def build(self, context: DatasetContext) -> Dataset:
        """The data set. Raises DataError for files that are missing or cannot be used."""

    @classmethod
    def source(cls, root: Path) -> DataSource | None:
        """Where to get the files, for `mlbench data`; None for a data set without files of its own."""
        return None


class AugmentationOptions(Options):
    """Options of an augmentation."""

    @abstractmethod
    def build(self, image_size: int) -> Augmentation:
        """The augmentation of images that become square with `image_size` pixels a side."""


class MixingOptions(Options):
    """Options of a mixing."""

    @abstractmethod
    def build(self) -> Mixing:
        """The mixing."""


class TrainedOptions(Options):
    """Options of a component that may have parameters of its own."""

    def lr_factors(self) -> Mapping[str, float]:
        """Learning rates of the component's parameters as multiples of the rate that they would have, above
        0, by glob pattern of the parameter's name in what `build` returns: {"head.*": 10.0}. Factors of
        several patterns that match are multiplied. A pattern that matches none is an error."""
        return {}


class BackboneOptions(TrainedOptions):
    """Options of a backbone.

    training_only: options that change training alone, and not the speed of inference."""

    training_only: ClassVar[frozenset[str]] = frozenset()

    def predict(self, image_size: int) -> BackboneShape | None:
        """Size and output of what `build` returns."""
        return None

    @abstractmethod
    def build(self, image_size: int) -> Backbone:
        """The backbone for square images of `image_size` pixels a side. Draws weights from torch's generator.

        Raises WeightsError for weights that cannot be loaded.
        """


class NeckOptions(TrainedOptions):
    """Options of a neck.

    takes_tokens: whether it takes sequences of tokens as well as feature maps; without, mlbench refuses a
    backbone that gives sequences."""

    takes_tokens: ClassVar[bool] = False

    def predict(self, features: Features) -> NeckShape | None:
        """Size of what `build` returns. Raises OptionError as it does."""
        return None

    @abstractmethod
    def build(self, features: Features) -> Neck:
        """The neck on a backbone with this output. Draws weights from torch's generator."""


@dataclass(frozen=True, slots=True)
class LossContext:
    """num_classes: classes of the train split. dim: width of the embeddings; a case with nested widths builds
    its losses once for each."""

    num_classes: int
    dim: int


class LossOptions(TrainedOptions):
    """Options of a loss."""

    def predict(self, context: LossContext) -> LossShape | None:
        """Requirements of what `build` returns."""
        return None

    @abstractmethod
    def build(self, context: LossContext) -> CentreLoss | PairLoss:
        """The loss, which may be a torch.nn.Module."""


@dataclass(frozen=True, slots=True)
class SamplerContext:
    """num_classes: classes of the train split. dim: width of the embeddings, as in `LossContext`.
    centres_per_class: as the loss needs. batch_size: images. batch_labels: largest number of different labels
    in a batch. seed: the case's derived seed for this component."""

    num_classes: int
    dim: int
    centres_per_class: int
    batch_size: int
    batch_labels: int
    seed: int


@dataclass(frozen=True, slots=True)
class HeadContext:
    """Size of a classification head for `mlbench advise`: classes, width of the embeddings, images in a
    batch."""

    num_classes: int
    dim: int
    batch_size: int


class SamplerOptions(TrainedOptions):
    """Options of a sampler of class centres."""

    def predict(self, context: SamplerContext) -> CentresShape | None:
        """Size of what `build` returns. Raises OptionError as it does."""
        return None

    @abstractmethod
    def build(self, context: SamplerContext) -> CentreSampler:
        """The class centres."""

    def advise(self, context: HeadContext) -> Advice | None:
        """Cost of these options on this machine, measured now; None for a sampler without advice."""
        return None


@dataclass(frozen=True, slots=True)
class DistillerContext:
    """dim: width of the embeddings. teacher_dim: width of the teacher's."""

    dim: int
    teacher_dim: int


class DistillerOptions(TrainedOptions):
    """Options of a distiller."""

    @abstractmethod
    def build(self, context: DistillerContext) -> Distiller:
        """The distance to the teacher's embeddings."""


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What batches are made of.

    labels: (N,) of the train split: an integer array for `build`, any sequence of integers for `predict`.
    batch_size: images. embed: embeddings of the train split without augmentation by the model as it is now,
    (N, D) float32 of unit length; None for `predict`, and for `build` while a run is planned and checked, so
    that only `batches` can call it.
    """

    labels: np.ndarray | Sequence[int]
    batch_size: int
    embed: Callable[[], np.ndarray] | None = None


class BatchSamplerOptions(Options):
    """Options of a batch sampler."""

    def predict(self, context: BatchContext) -> BatchesShape | None:
        """Batches of what `build` returns."""
        return None

    @abstractmethod
    def build(self, context: BatchContext) -> BatchSampler:
        """The batch sampler."""


class MetricOptions(Options):
    """Options of a metric. The class has `per_query`, `of_curve` or `of_embeddings` itself (see `RankMetric`,
    `CurveMetric`, `EmbeddingMetric`), or `build` returns an object that has."""

    @abstractmethod
    def quantities(self) -> Mapping[str, Quantity]:
        """Every value that the metric gives, by name. No torch, no NumPy: `mlbench validate` asks."""

    def build(self) -> RankMetric | CurveMetric | EmbeddingMetric:
        """The metric."""
        return self  # type: ignore[return-value]


class ThresholdOptions(Options):
    """Options of a threshold policy. The class has `__call__` itself (see `ThresholdPolicy`), or `build`
    returns an object that has."""

    def build(self) -> ThresholdPolicy:
        """The policy."""
        return self  # type: ignore[return-value]


class ClaimOptions(Options):
    """Options of a claim: a statement about cases of a suite that the records of a run support or refute.

    The options of every claim come first; those of its kind follow."""

    sentence: Annotated[str, Field(min_length=1)]
    """The claim in one sentence."""
    source: str = ""
    """Where it is made: a paper, a page, a table of it."""
    caveat: str = ""
    """What limits the answer, shown beside it."""
    differ: tuple[str, ...] = ()
    """Settings in which compared cases may differ, such as [loss, backbone.weights], and of what follows from
    the settings: steps (of training), dim (width of the embeddings), num_classes (of training). Any other
    difference is an error. Empty for the axes that the claim selects its cases by."""
    needs: Literal["cuda"] | None = None
    """The kind of device without which the claim cannot be tested; null for any."""

    @abstractmethod
    def compared(self) -> Sequence[Sequence[Cases]]:
        """Groups of cases that are compared with each other, and so may differ only in `differ`."""

    @abstractmethod
    def quantities(self) -> Sequence[str]:
        """Names of the metrics, speeds and sizes that the claim is about."""

    @abstractmethod
    def judge(self, evidence: Evidence) -> Finding:
        """What the records say. Called again with the first seeds alone where seeds were added until the
        claim was decided. Raises ClaimError where they cannot answer."""


@dataclass(frozen=True, slots=True)
class TrackerContext:
    """What a tracker is built for.

    suite: its name, with the size. title: one line, "" where it has none. folder: of the suite's records,
    which exists by the first event; a folder within it is a good place for files."""

    suite: str
    title: str
    folder: Path


class TrackerOptions(Options):
    """Options of a tracker. They are no part of a case, so they change no result and no fingerprint."""

    @abstractmethod
    def build(self, context: TrackerContext) -> Tracker:
        """The tracker of one run. Creates nothing before the first event. Raises TrackerError for what the
        user must mend first, such as a library that is not installed: the run then ends before it starts."""


class SectionOptions(Options):
    """Options of a section of the report page. Every installed section is on the page of every suite.

    place: sections stand in ascending order of it; the built-in ones have 100 (the answer), 200 (cases), 300
    (charts of cases), 400 to 590 (one case) and 900 (how it was made)."""

    place: ClassVar[int] = 700

    @abstractmethod
    def build(self, context: PageContext) -> Section | None:
        """The section, or None where there is nothing to say. A section that raises is left out, with a line
        on the page."""


#: The result of `predict`, for the kinds that have it.
PREDICTIONS: Mapping[str, type] = {
    "backbone": BackboneShape,
    "neck": NeckShape,
    "loss": LossShape,
    "sampler": CentresShape,
    "batch_sampler": BatchesShape,
}

#: The options class that a component of each kind is a subclass of.
BASES: Mapping[str, type[Options]] = {
    "dataset": DatasetOptions,
    "augmentation": AugmentationOptions,
    "mixing": MixingOptions,
    "backbone": BackboneOptions,
    "neck": NeckOptions,
    "loss": LossOptions,
    "sampler": SamplerOptions,
    "distiller": DistillerOptions,
    "batch_sampler": BatchSamplerOptions,
    "recipe": Recipe,
    "metric": MetricOptions,
    "threshold": ThresholdOptions,
    "claim": ClaimOptions,
    "tracker": TrackerOptions,
    "section": SectionOptions,
}

NESTED.update({base: kind for kind, base in BASES.items() if KINDS[kind].inner})

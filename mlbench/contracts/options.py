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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PrivateAttr, model_validator
from pydantic_core import CoreSchema

from mlbench.contracts.catalogue import CatalogueItem
from mlbench.contracts.claims import Cases
from mlbench.contracts.nested import nested_schema
from mlbench.contracts.shapes import (
    Advice,
    BackboneShape,
    BatchesShape,
    CentresShape,
    Features,
    LossShape,
    NeckShape,
)
from mlbench.errors import OptionError, hint

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


#: Kind of each options class that an option of another component may have as its type; filled below.
NESTED: dict[type, str] = {}


class Options(BaseModel):
    """Options of a component: frozen, strict (no string becomes a number), unknown ones refused, defaults
    checked.

    A field that a subclass declares again with the same type keeps its bounds and its docstring, so that only
    the default changes; with bounds or another type, it has those. A validator of a subclass raises
    OptionError, naming the option that is wrong.

    An option whose type is the options class of a kind (`LossOptions`, `tuple[AugmentationOptions, ...]`) is
    another component. A suite names it, with its options; the value is its own options, which build it.

    speed_neutral: options that change no speed, such as a margin or the choice of initial weights. Cases that
    differ in nothing else share one measurement. libraries: distributions that the component uses, besides
    those that its package requires, such as an optional one; the record has their versions. registered_name:
    of an inner component, else ""."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        protected_namespaces=(),
    )

    speed_neutral: ClassVar[frozenset[str]] = frozenset()
    libraries: ClassVar[tuple[str, ...]] = ()

    _registered_name: str = PrivateAttr("")

    @property
    def registered_name(self) -> str:
        """Name of an inner component, else ""."""
        return self._registered_name

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kind = NESTED.get(cls)
        return handler(source) if kind is None else nested_schema(kind, cls)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = cls.__annotations__
        for base in cls.__mro__[1:]:
            for name, field in getattr(base, "__pydantic_fields__", {}).items():
                if name in own and _type_of(own[name], cls, bounds=True) == _type_of(field.annotation, base):
                    bounds = field.metadata
                    own[name] = Annotated[field.annotation, *bounds] if bounds else field.annotation

    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        """Settings for other sections where the suite does not say otherwise: a mapping as under `base`, such
        as {"mixing": {"name": "mixup"}, "backbone": {"drop_path": 0.05}}."""
        return {}

    @classmethod
    def catalogue(cls) -> Iterable[CatalogueItem]:
        """What the component offers by name, such as the models of a library, for `mlbench list --search`.
        Quickly: no torch, no network."""
        return ()


def _type_of(annotation: Any, owner: type, *, bounds: bool = False) -> Any:
    """The type of an annotation in the module of `owner`, without bounds; with `bounds` they are kept."""
    holder = type("Holder", (), {"__annotations__": {"it": annotation}, "__module__": owner.__module__})
    try:
        return get_type_hints(holder, include_extras=bounds)["it"]
    except NameError:  # pydantic reports it
        return annotation


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


#: Parts of a case that are trained, as `Recipe.lr_factors` names them.
TRAINED_PARTS = ("backbone", "neck", "loss", "sampler", "distiller")

_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Beta = Annotated[float, Field(ge=0, lt=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class Recipe(Options):
    """How a case is trained: optimiser, schedule and length. Optimisers are timm's, by their timm names.

    A recipe is its own options; a preset is a subclass with other defaults. Biases and norms are not decayed.
    The class centres, and all that a loss trains itself (proxies, rows of a linear classifier, learnt
    margins), have the learning rate lr * centre_lr throughout the schedule; weights among them are decayed as
    the model's are. Factors of lr_factors, and those that a component states itself, come on top.

    Raises OptionError where min_lr is above lr or the schedule does not fall to it, where optimizer_options
    repeats another option, where lr_factors names no part, and where milestones do not rise, lie in the
    warm-up or do not belong to the schedule."""

    # What is left changes the work of a step: its batch, the optimiser, clipping and the running mean.
    speed_neutral: ClassVar[frozenset[str]] = frozenset(
        {
            *("epochs", "lr", "weight_decay", "betas", "centre_lr", "schedule", "milestones", "decay_rate"),
            *("min_lr", "warmup", "patience", "evaluate_every", "select", "select_by", "workers"),
            "lr_factors",
        }
    )

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training images; 0 to evaluate the model as it starts."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images in a step."""
    optimizer: str = "adamw"
    """timm name of the optimiser."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Highest learning rate."""
    weight_decay: _NotNegative = 1e-3
    """Weight decay of all weights but biases and norms."""
    betas: tuple[_Beta, _Beta] | None = None
    """Betas of Adam and its variants; null for the optimiser's default."""
    momentum: _Beta | None = None
    """Momentum of SGD and its variants; null for the optimiser's default."""
    centre_lr: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of class centres and of a loss's own parameters, as a multiple of lr."""
    lr_factors: Mapping[str, _Positive] = {}
    """Learning rates of parts as multiples of the rate that they would have, such as {backbone: 0.1, neck:
    10}; of backbone, neck, loss (its own parameters), sampler (class centres) and distiller."""
    optimizer_options: Mapping[str, Any] = {}
    """Further arguments of timm's optimiser, such as {max_grad_norm: null} for lamb."""
    schedule: Literal["cosine", "linear", "step", "constant"] = "linear"
    """How the learning rate falls after the warm-up, step by step."""
    milestones: tuple[_Share, ...] = ()
    """Shares of all steps, rising, at which schedule step multiplies the rate by decay_rate."""
    decay_rate: _Share = 0.1
    """Factor of the learning rate at each milestone."""
    min_lr: _NotNegative = 0.0
    """Last learning rate of a cosine or linear schedule; at most lr."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps in which the rate rises from 0."""
    clip_norm: _NotNegative = 5.0
    """Largest norm of the gradient; 0 for no limit."""
    views: Annotated[int, Field(ge=0)] = 0
    """Augmented views of each image, shown in turn by epoch; 0 for a new one every epoch."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many evaluations without a better score; 0 to train to the end."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations on the calibration split."""
    select: Literal["best", "last"] = "best"
    """Keep the weights with the best score on the calibration split, or the last."""
    select_by: str = ""
    """The score: a quantity of the case's metrics that has a better direction, at the threshold that the
    case's policy fits on the calibration split. Empty for the best F1 of any threshold."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the running mean of the weights, which replaces them in evaluation; 0 for none."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that read images; null to choose by the machine."""

    def build(self) -> Recipe:
        """The recipe. A subclass with other options returns a plain one."""
        return self

    @model_validator(mode="after")
    def _options_fit_together(self) -> Self:
        if self.min_lr > self.lr:
            raise OptionError(
                f"recipe: min_lr {self.min_lr:g} is above lr {self.lr:g}; expected at most lr", "min_lr"
            )
        if self.min_lr and self.schedule not in ("cosine", "linear"):
            raise OptionError(
                f"recipe: schedule {self.schedule!r} does not fall to min_lr {self.min_lr:g}; set min_lr: 0, "
                "or schedule: cosine or linear",
                "min_lr",
            )
        for name in ("lr", "weight_decay", "betas", "momentum"):
            if name in self.optimizer_options:
                raise OptionError(
                    f"recipe: optimizer_options has {name!r}; set recipe.{name} instead", "optimizer_options"
                )
        for name in self.lr_factors:
            if name not in TRAINED_PARTS:
                known = hint(name, TRAINED_PARTS)
                raise OptionError(f"recipe: lr_factors has no part {name!r} ({known})", "lr_factors")
        if problem := self._milestones_problem():
            shown = ", ".join(f"{share:g}" for share in self.milestones)
            raise OptionError(f"recipe: milestones [{shown}]: {problem}", "milestones")
        return self

    def _milestones_problem(self) -> str:
        if self.milestones and self.schedule != "step":
            return f"schedule {self.schedule!r} has none; set schedule: step, or milestones: []"
        if self.schedule == "step" and not self.milestones:
            return "schedule 'step' needs at least one, as in milestones: [0.5, 0.75]"
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            return "each must be above the one before"
        if self.milestones and self.milestones[0] < self.warmup:
            return f"the first lies in the warm-up, which ends at {self.warmup:g}; raise it, or lower warmup"
        return ""


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

# These are no parts of another component.
_OUTERMOST = ("recipe", "claim", "tracker", "section")
NESTED.update({base: kind for kind, base in BASES.items() if kind not in _OUTERMOST})

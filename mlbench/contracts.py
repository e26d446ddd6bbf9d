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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn

    from mlbench.curve import Curve
    from mlbench.embeddings import Embeddings
    from mlbench.ranks import Ranks

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
    "Dataset",
    "EmbeddingMetric",
    "FeatureShape",
    "Kind",
    "Neck",
    "NeckShape",
    "PairLoss",
    "Quantity",
    "RankMetric",
    "Recipe",
    "RowSampler",
    "Split",
    "SplitName",
    "ThresholdPolicy",
]

SplitName = Literal["train", "calibration", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "calibration", "test")

#: Bits of `Split.role`: may this image ask, may it be found?
QUERY, GALLERY = 1, 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component: what it is for, and what mlbench provides to its factories by name."""

    summary: str
    provides: tuple[str, ...] = ()


#: Every kind. `provides` are the ordinary parameters that a factory of this kind may name:
#: data_root (Path): relative paths in a suite start here; image_size (int): pixels, images are square;
#: feature_shape (FeatureShape): the backbone's output; num_classes (int): classes of the train split;
#: dim (int): width of the embeddings; centres_per_class (int): as the loss asks; batch_labels (int): most
#: different labels that a batch may hold;
#: labels (np.ndarray, (N,) int64): labels of the train split; batch_size (int); seed (int): the case's
#: derived seed for this component.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dataset": Kind("labelled images in train, calibration and test splits", ("data_root", "image_size")),
        "augmentation": Kind("random changes to a training image", ("image_size",)),
        "backbone": Kind("images to feature maps", ("image_size",)),
        "neck": Kind("feature maps to embeddings", ("feature_shape",)),
        "loss": Kind("what training makes small"),
        "sampler": Kind(
            "the class centres, and which of them take part in a step",
            ("num_classes", "dim", "centres_per_class", "batch_size", "batch_labels", "seed"),
        ),
        "batch_sampler": Kind("which training images make up a batch", ("labels", "batch_size")),
        "recipe": Kind("optimiser, schedule and length of training"),
        "metric": Kind("what is measured of the embeddings"),
        "threshold": Kind("which threshold to deploy, found on the calibration split"),
    }
)


@dataclass(frozen=True, slots=True)
class Component:
    """The registration of one component.

    kind: one of `KINDS`. name: how suites call it. factory: "module:attribute". summary: one line.
    source: the paper or page it comes from. predict: "module:attribute" of a function without heavy
    imports that takes the same arguments as the factory and says what would be built without building it
    (`BackboneShape` for a backbone, `NeckShape` for a neck, the centres per class that a loss needs, 0
    for none, `CentresShape` for a sampler, `BatchesShape` for a batch sampler, whose labels are any
    sequence then; None where only building can tell), so that `mlbench plan` can show
    sizes at once and refuse early; without it, plan shows "?". A metric must have it: it announces there,
    name by name, each `Quantity` that it measures. advise: "module:attribute" of a function that takes what
    the kind provides, and options of its own, and returns `Advice` for this machine: `mlbench advise` calls
    it with num_classes, dim and batch_size, and with the option rate.
    """

    kind: str
    name: str
    factory: str
    summary: str
    source: str = ""
    predict: str = ""
    advise: str = ""


class FeatureShape(NamedTuple):
    """Shape of one feature map: channels, height, width."""

    channels: int
    height: int
    width: int


class BackboneShape(NamedTuple):
    """What a backbone would be: its parameters and its output, None where only building it can tell.

    version: what its results depend on besides options and code, such as the hash of a checkpoint file.
    """

    parameters: int | None
    feature_shape: FeatureShape | None
    version: str = ""


class NeckShape(NamedTuple):
    """What a neck would be: its parameters and the width of its embeddings."""

    parameters: int
    dim: int


class BatchesShape(NamedTuple):
    """What a batch sampler would make: batches in an epoch, and the most different labels that one of them
    may hold, None for as many as it has images."""

    batches: int
    labels: int | None = None


class CentresShape(NamedTuple):
    """What a sampler of class centres would be: the centres' parameters.

    notes: what a user must know about this choice, one line each.
    """

    parameters: int
    notes: tuple[str, ...] = ()


class Choice(NamedTuple):
    """One way to do it, and what it would cost here: centres in a step, peak bytes, seconds of a step."""

    name: str
    sampled: int
    bytes: int
    seconds: float


class Advice(NamedTuple):
    """Ways to choose from, the plainest first; what to do, in plain words; what the numbers rest on."""

    choices: tuple[Choice, ...]
    recommendation: str
    basis: str


@runtime_checkable
class Split(Protocol):
    """A sized, indexable source of labelled images. Picklable: it travels to worker processes.

    Labels are contiguous within the split, 0 .. num_classes - 1. Asking twice for the same index gives
    the same bits, in any process.
    """

    @property
    def num_classes(self) -> int: ...

    def __len__(self) -> int: ...

    def label(self, index: int) -> int:
        """Label of image `index`, without reading the image."""
        ...

    def image(self, index: int) -> Image.Image:
        """Image `index`: RGB, any size."""
        ...

    def class_name(self, label: int) -> str:
        """A name for the class that is unique across all splits of the data set."""
        ...

    def role(self, index: int) -> int:
        """`QUERY`, `GALLERY` or both, as bits."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Three splits, and a version that changes when the data changes.

    disjoint: no class of train or calibration occurs in test; a run says it aloud when it is false.
    notes: what a user must know about the data ("3 unreadable files left out: a.jpg, ..."), one line each.
    Built without torch: planning a run asks only for versions and sizes.
    """

    version: str
    disjoint: bool
    notes: Sequence[str]

    def split(self, name: SplitName) -> Split: ...


class Augmentation(Protocol):
    """A random change to a training image; all randomness comes from `generator`. Picklable."""

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image: ...


class Backbone(Protocol):
    """Images (N, 3, H, W) float32, already normalised with `mean` and `std`, to maps (N, C, h, w).

    A torch.nn.Module in two parts, `forward(x) == trained(frozen(x))`. `frozen` is the prefix that
    training never changes (an empty nn.Sequential when all is trained); mlbench keeps it without gradient
    and in evaluation mode. `trained` is the rest (empty when all is frozen). mean, std: per channel, for
    images in [0, 1]. weights: where the initial weights come from, in words, for the record.
    """

    frozen: nn.Module
    trained: nn.Module
    feature_shape: FeatureShape
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str

    def __call__(self, images: torch.Tensor) -> torch.Tensor: ...


class Neck(Protocol):
    """Feature maps (N, C, h, w) to embeddings (N, dim). A torch.nn.Module.

    The embeddings need not have unit length; whoever compares them normalises.
    """

    dim: int

    def __call__(self, features: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class PairLoss(Protocol):
    """A loss on a batch of embeddings, with no class centres. May be a torch.nn.Module."""

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, D) float; labels: (N,) int64. Returns a scalar."""
        ...


@runtime_checkable
class CentreLoss(Protocol):
    """A loss with class centres: cosines in, logits out.

    The centres belong to the sampler, which computes cosines to the centres that take part in the step
    and, from the logits, the cross entropy. So every such loss runs with every sampler.

    A loss may have an attribute `per_example`, true when the logits of an example depend on nothing but
    that example's cosines, target and norm, and asking twice gives the same (no batch statistics, no
    draws). A sampler may then ask for a few examples at a time, which saves time and memory.
    """

    centres_per_class: int

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """cosines: (N, K, centres_per_class) float in [-1, 1] to the centres of K classes; targets: (N,)
        int64, the target's column, or -1 where it is not among the K; norms: (N,) float, lengths of the
        embeddings before normalisation. Returns logits (N, K)."""
        ...


class CentreSampler(Protocol):
    """Owns the class centres. A torch.nn.Module; its parameters join the optimiser, without weight decay
    exceptions of their own, as the parameter group "centres". One that is a `RowSampler` too updates them
    itself."""

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor, loss: CentreLoss) -> torch.Tensor:
        """embeddings: (N, D) float, any length; labels: (N,) int64 in [0, num_classes).
        Returns the scalar loss."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The centres, and whatever else is trained with them."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """What a checkpoint keeps."""
        ...


@runtime_checkable
class RowSampler(CentreSampler, Protocol):
    """A `CentreSampler` that owns the optimiser of its centres too, as it must where they are too many to
    be touched in every step.

    stand_in: a scalar that joins the optimiser in the centres' stead. The backward pass makes its gradient
    the norm of the centres' gradient, so that clipping and loss scaling take them into account; what these
    make of it, `update` does to the centres' gradient. Its value means nothing.
    """

    @property
    def stand_in(self) -> nn.Parameter: ...

    def update(self, lr: float, weight_decay: float) -> None:
        """Move the centres by the gradient of the last backward pass. Called after each step that the
        optimiser took (loss scaling may skip one), with the group's values at that step."""
        ...


class BatchSampler(Protocol):
    """Which images make up the batches of an epoch."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def batches(self, generator: np.random.Generator) -> Iterator[list[int]]:
        """Indices of each batch of one epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a case is trained. Optimisers and schedules are timm's, by their timm names.

    epochs: passes over the training images. batch_size: images. optimizer, lr, weight_decay, betas,
    momentum: as timm's `create_optimizer_v2` takes them (None: betas of the optimiser, momentum .9);
    biases and norms are not decayed. centre_lr: learning rate of the class centres, as a multiple of lr.
    schedule: how the rate falls, step by step, to min_lr. warmup: share of all steps in [0, 1) with a
    linear rise from 0. clip_norm: largest norm of the gradient, 0 for no limit. matmul_precision: as
    `torch.set_float32_matmul_precision` takes it. views: how many augmented views of each training image
    exist; epoch e shows view e mod views; 0 draws a new one every epoch. patience: stop after so many
    evaluations on the calibration split without a better score, 0 to train to the end. evaluate_every:
    epochs between such evaluations. select: "best" keeps the checkpoint that scored best on the
    calibration split, "last" the final one. workers: processes that read images, None to choose by the
    machine.
    """

    epochs: int
    batch_size: int
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-3
    betas: tuple[float, float] | None = None
    momentum: float | None = None
    centre_lr: float = 1.0
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    min_lr: float = 0.0
    warmup: float = 0.1
    clip_norm: float = 5.0
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    views: int = 0
    patience: int = 0
    evaluate_every: int = 1
    select: Literal["best", "last"] = "best"
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named value in a record: what it is, its unit, and which direction is better (None: neither)."""

    summary: str
    unit: str = ""
    higher_is_better: bool | None = True


@runtime_checkable
class RankMetric(Protocol):
    """A metric of every query's ranking. Its values are means over queries; by class and with an interval
    they come of themselves."""

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """Name to (Q,) float. Called with some queries at a time when memory is short."""
        ...


@runtime_checkable
class CurveMetric(Protocol):
    """A metric of the verification curve over all pairs."""

    def of_curve(self, curve: Curve, threshold: float | None) -> Mapping[str, np.ndarray | float | str]:
        """Name to value; a text says why there is no value.

        threshold: the cosine similarity that the threshold policy found on the calibration split, None where
        it found none. The curve may have leading axes, one curve a resample, from which the interval comes:
        values have those axes then.
        """
        ...


@runtime_checkable
class EmbeddingMetric(Protocol):
    """A metric of the embeddings themselves; it has no interval."""

    def of_embeddings(self, embeddings: Embeddings) -> Mapping[str, float | str]:
        """Name to value; a text says why there is no value."""
        ...


class ThresholdPolicy(Protocol):
    """Chooses the threshold to deploy."""

    def __call__(self, curve: Curve | None) -> float:
        """The cosine similarity at and above which two images are the same.

        curve: of the calibration split, None where there is none. Raises ThresholdError when no threshold
        does what is asked, with what the curve can reach.
        """
        ...

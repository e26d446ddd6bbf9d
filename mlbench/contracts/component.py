"""What registers a component, and what it can say of itself before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

__all__ = [
    "KINDS",
    "Advice",
    "BackboneShape",
    "BatchesShape",
    "CentresShape",
    "Choice",
    "Component",
    "FeatureShape",
    "Kind",
    "LossShape",
    "NeckShape",
    "Need",
    "TokensShape",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component: what it is for, and what mlbench provides to its factories by name."""

    summary: str
    provides: tuple[str, ...] = ()


#: Every kind. `provides` are the ordinary parameters that a factory of this kind may name:
#: data_root (Path): relative paths in a suite start here; image_size (int): pixels, images are square;
#: feature_shape (FeatureShape or TokensShape): the backbone's output; num_classes (int): classes of the train
#: split; dim (int): width of the embeddings; teacher_dim (int): width of the teacher's; centres_per_class
#: (int): as the loss asks; batch_labels (int): most different labels that a batch may hold; labels
#: (np.ndarray, (N,) int64): labels of the train split; batch_size (int); embed (Callable[[], np.ndarray], or
#: None while a run is planned): embeddings of the train split without augmentation by the model as it is now,
#: (N, D) float32 of unit length; seed (int): the case's derived seed for this component.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "dataset": Kind("labelled images in train, calibration and test splits", ("data_root", "image_size")),
        "augmentation": Kind("random changes to a training image", ("image_size",)),
        "mixing": Kind("random mixes of the images of a training batch"),
        "backbone": Kind("images to feature maps", ("image_size",)),
        "neck": Kind("feature maps to embeddings", ("feature_shape",)),
        "loss": Kind("what training makes small", ("num_classes", "dim")),
        "sampler": Kind(
            "the class centres, and which of them take part in a step",
            ("num_classes", "dim", "centres_per_class", "batch_size", "batch_labels", "seed"),
        ),
        "distiller": Kind("how far embeddings are from a teacher's", ("dim", "teacher_dim")),
        "batch_sampler": Kind("which training images make up a batch", ("labels", "batch_size", "embed")),
        "recipe": Kind("optimiser, schedule and length of training"),
        "metric": Kind("what is measured of the embeddings"),
        "threshold": Kind("which threshold to deploy, found on the calibration split"),
    }
)


@dataclass(frozen=True, slots=True)
class Component:
    """The registration of one component.

    kind: one of `KINDS`. name: how suites call it. factory: "module:attribute". summary: one line.
    source: the paper or page it comes from, as "arXiv:1801.09414" or an address. predict: "module:attribute"
    of a function without heavy imports that takes the same arguments as the factory and says what would be
    built without building it (`BackboneShape` for a backbone, `NeckShape` for a neck, `LossShape` for a loss,
    `CentresShape` for a sampler, `BatchesShape` for a batch sampler, whose labels are any sequence then; None
    where only building can tell), so that `mlbench plan` can show sizes at once and refuse early; without it,
    plan shows "?". A metric must have it: it announces there, name by name, each `Quantity` that it measures.
    advise: "module:attribute" of a function that takes what
    the kind provides, and options of its own, and returns `Advice` for this machine: `mlbench advise` calls
    it with num_classes, dim and batch_size, and with the option rate. preset: what a case that names this
    component sets as well, key by key, where the suite does not: a mapping as under `base`, such as
    {"mixing": {"name": "mixup"}, "backbone": {"drop_path": 0.05}}. data: of a data set whose files must be
    had first, "module:attribute" of a function that takes data_root and gives its `DataSource`, for
    `mlbench data`.
    """

    kind: str
    name: str
    factory: str
    summary: str
    source: str = ""
    predict: str = ""
    advise: str = ""
    preset: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""


class FeatureShape(NamedTuple):
    """Shape of one feature map: channels, height, width. A pooled vector is a map of height and width 1."""

    channels: int
    height: int
    width: int


class TokensShape(NamedTuple):
    """Shape of one sequence of tokens, (tokens + height * width, channels): first those that stand for no
    place, such as the class token and registers, the class token before all; then the map, row by row."""

    channels: int
    height: int
    width: int
    tokens: int


class BackboneShape(NamedTuple):
    """What a backbone would be: its parameters and its output, None where only building it can tell.

    version: what its results depend on besides options and code, such as the hash of a checkpoint file.
    """

    parameters: int | None
    feature_shape: FeatureShape | TokensShape | None
    version: str = ""


class NeckShape(NamedTuple):
    """What a neck would be: its parameters and the width of its embeddings."""

    parameters: int
    dim: int


#: What a loss may need of every batch: pairs of images of one class ("positives"), pairs of images of two
#: classes ("negatives"), images of a class side by side and as many of each class as there are classes
#: ("square"), or rows that are anchor, positive, negative, anchor, positive, negative, ... ("triplets").
Need = Literal["positives", "negatives", "square", "triplets"]


class LossShape(NamedTuple):
    """What a loss would be: the class centres that it needs for each class, 0 for none, the parameters that
    it has itself, which are no part of the deployed model, and what it needs of a batch to learn from it."""

    centres_per_class: int = 0
    parameters: int = 0
    needs: tuple[Need, ...] = ()


class BatchesShape(NamedTuple):
    """What a batch sampler would make: batches in an epoch, and the most different labels that one of them
    may hold, None for as many as it has images.

    positives, negatives: pairs of images of one class, and of two, that are expected in a batch at least;
    where both are None, nothing is known of pairs and layout, and nothing is checked. grouped: classes in
    each batch and images of each, which stand side by side; None where batches are not so. triplets: whether
    rows are anchor, positive, negative, anchor, ... drawn: share of the training images that an epoch is
    expected to show, None where that is not known.
    """

    batches: int
    labels: int | None = None
    positives: float | None = None
    negatives: float | None = None
    grouped: tuple[int, int] | None = None
    triplets: bool = False
    drawn: float | None = None


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

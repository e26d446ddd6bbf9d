"""Images: data sets, their splits, and random changes to training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

__all__ = [
    "GALLERY",
    "QUERY",
    "SPLITS",
    "Augmentation",
    "DataCheck",
    "DataProgress",
    "DataSource",
    "DataState",
    "Dataset",
    "GroupedSplit",
    "LocatedSplit",
    "Mixed",
    "Mixing",
    "PairList",
    "PairedDataset",
    "PartCount",
    "Split",
    "SplitName",
]

SplitName = Literal["train", "calibration", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "calibration", "test")

#: Bits of `Split.role`: the image is a query, the image is in the gallery.
QUERY, GALLERY = 1, 2


@runtime_checkable
class Split(Protocol):
    """A sized, indexable source of labelled images. Picklable, for worker processes.

    Labels are contiguous within the split, 0 .. num_classes - 1. An index always gives the same bits, in any
    process.
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
        """Name of the class, unique across all splits of the data set."""
        ...

    def role(self, index: int) -> int:
        """`QUERY`, `GALLERY` or both, as bits; 0 for an image without a label (`PairedDataset` only)."""
        ...


@runtime_checkable
class GroupedSplit(Split, Protocol):
    """A split with groups of images that must not be compared, such as the images of one session.

    groups: (N,) int64, with the same meaning in all splits of the data set: two images of one class and one
    group are never compared. A negative number: the image is in no group. None: no image is in a group.
    """

    @property
    def groups(self) -> np.ndarray | None: ...


@runtime_checkable
class LocatedSplit(Split, Protocol):
    """A split that knows where its images come from, for reports on single images."""

    def where(self, index: int) -> str:
        """Place of image `index` for a reader, without reading the image: its file below the folder of the
        data set, or another text of one line; "" where there is none."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Three splits, and a version that changes when the data changes.

    disjoint: no class of train or calibration occurs in test; a run prints a note where it is false.
    notes: what a user must know about the data ("3 unreadable files left out: a.jpg, ..."), one line each.
    A data set that decodes files may have `white`, the value of white in images of more than 8 bits, which is
    exported with a model. Built without torch: planning reads only versions, labels and sizes.
    """

    @property
    def version(self) -> str: ...

    @property
    def disjoint(self) -> bool: ...

    @property
    def notes(self) -> Sequence[str]: ...

    def split(self, name: SplitName) -> Split: ...


#: Which files of a data set are on this machine.
DataState = Literal["ready", "incomplete", "missing"]

#: Called with a description of the current step, the amount done and the total.
DataProgress = Callable[[str, int, int], None]


class PartCount(NamedTuple):
    """Classes and images found in one published part, such as train, test, query or gallery, and the
    published numbers, None where they are not known."""

    part: str
    classes: int
    images: int
    published_classes: int | None = None
    published_images: int | None = None


class DataCheck(NamedTuple):
    """Result of checking every file: the parts, and one line for each problem."""

    parts: Sequence[PartCount]
    problems: Sequence[str]


@runtime_checkable
class DataSource(Protocol):
    """Origin of a data set's files, and their state on this machine. No torch.

    home: address of the page that describes the data. licence: permitted use, one line. size: approximate
    bytes to download. folder: where the files belong. instructions: how to get the files by hand, one line.
    fetch: downloads the files into `folder`, complete files or none, and raises DataError; None where a
    person must do it."""

    @property
    def home(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def folder(self) -> Path: ...

    @property
    def instructions(self) -> str: ...

    @property
    def fetch(self) -> Callable[[DataProgress], None] | None: ...

    def state(self) -> DataState:
        """State by the names of files alone, without reading them."""
        ...

    def check(self, progress: DataProgress) -> DataCheck:
        """Read every file. Missing files are a problem in the result, not an error."""
        ...


class Augmentation(Protocol):
    """A random change to a training image, drawn from `generator` alone. Picklable."""

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image: ...


class PairList(NamedTuple):
    """Fixed pairs: left, right (P,) int64 rows, same (P,) bool, folds (P,) int64."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    folds: np.ndarray


@runtime_checkable
class PairedDataset(Dataset, Protocol):
    """A data set with fixed test pairs for verification, such as Labeled Faces in the Wild.

    Where test images have no labels besides the pairs, each image is the only one of its class and has role
    0: then only the pairs are evaluated."""

    def pairs(self) -> PairList:
        """Pairs of indices into the test split."""
        ...


class Mixed(NamedTuple):
    """A mixed batch: images (N, 3, S, S) float32 in [0, 255]; partners (N,) int64 on the CPU, index in the
    batch of the image mixed into each; share: weight of each image itself, in [0, 1]."""

    images: torch.Tensor
    partners: torch.Tensor
    share: float


class Mixing(Protocol):
    """A random mix of training images, drawn from `generator` alone."""

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed | None:
        """images: (N, 3, S, S) uint8 on any device. Returns None to leave the batch unchanged."""
        ...

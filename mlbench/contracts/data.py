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

#: Bits of `Split.role`: may this image ask, may it be found?
QUERY, GALLERY = 1, 2


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
        """`QUERY`, `GALLERY` or both, as bits; 0 for an image without a label, which only a `PairedDataset`
        has."""
        ...


@runtime_checkable
class GroupedSplit(Split, Protocol):
    """A split some of whose images belong together, such as those of one session, or one image in two splits.

    groups: (N,) int64, with the same meaning in all splits of the data set: two images of one class and one
    group are never compared. An image with a negative number is in no group. None: no image is in one.
    """

    @property
    def groups(self) -> np.ndarray | None: ...


@runtime_checkable
class Dataset(Protocol):
    """Three splits, and a version that changes when the data changes.

    disjoint: no class of train or calibration occurs in test; a run says it aloud when it is false.
    notes: what a user must know about the data ("3 unreadable files left out: a.jpg, ..."), one line each.
    One that decodes files may have a `white`, the value of white where images have more than 8 bits, which
    models that are exported then carry.
    Built without torch: planning a run asks only for versions and sizes.
    """

    version: str
    disjoint: bool
    notes: Sequence[str]

    def split(self, name: SplitName) -> Split: ...


#: What of a data set's files is here.
DataState = Literal["ready", "incomplete", "missing"]

#: Called with what is being done, and how much of it is done and how much there is.
DataProgress = Callable[[str, int, int], None]


class PartCount(NamedTuple):
    """Classes and images found in one published part, such as train, test, query or gallery, and how many
    were published, None where nobody says."""

    part: str
    classes: int
    images: int
    published_classes: int | None = None
    published_images: int | None = None


class DataCheck(NamedTuple):
    """What a look at every file has found: the parts, and one line for each thing that is wrong."""

    parts: Sequence[PartCount]
    problems: Sequence[str]


@runtime_checkable
class DataSource(Protocol):
    """Where the files of a data set come from, and what of them is here. Made and asked without torch.

    home: address of the page that describes the data. licence: who may use them for what, one line.
    size: bytes to download, about. folder: where the files lie. instructions: what to put where by hand, one
    line. fetch: gets the files into `folder` with whole files or none, and raises DataError; None where only
    a person can.
    """

    home: str
    licence: str
    size: int
    folder: Path
    instructions: str

    @property
    def fetch(self) -> Callable[[DataProgress], None] | None: ...

    def state(self) -> DataState:
        """Answers at once, from the names of files alone."""
        ...

    def check(self, progress: DataProgress) -> DataCheck:
        """Looks into every file. Files that are missing altogether are a problem, not an error."""
        ...


class Augmentation(Protocol):
    """A random change to a training image; all randomness comes from `generator`. Picklable."""

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image: ...


class PairList(NamedTuple):
    """Pairs chosen by hand: left, right (P,) int64 rows, same (P,) bool, folds (P,) int64."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    folds: np.ndarray


@runtime_checkable
class PairedDataset(Dataset, Protocol):
    """A data set whose test split comes with the pairs to be verified, as Labeled Faces in the Wild does.

    Where the pairs are all that is known of the test images, each stands in a class of its own and has no
    role: nothing but the pairs is measured then.
    """

    def pairs(self) -> PairList:
        """Pairs of indices into the test split."""
        ...


class Mixed(NamedTuple):
    """A mixed batch: images (N, 3, S, S) float32 in [0, 255]; partners (N,) int64 on the CPU, the place in
    the batch of the image that was mixed into each; share: of its own image in each, in [0, 1]."""

    images: torch.Tensor
    partners: torch.Tensor
    share: float


class Mixing(Protocol):
    """A random mix of training images; all randomness comes from `generator`."""

    def __call__(self, images: torch.Tensor, generator: np.random.Generator) -> Mixed | None:
        """images: (N, 3, S, S) uint8 on any device. None leaves the batch as it is."""
        ...

"""A data set cut to few images a split, for a first look at a suite."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlbench.contracts import (
    SPLITS,
    Dataset,
    GroupedSplit,
    LocatedSplit,
    PairedDataset,
    PairList,
    Split,
    SplitName,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["limit_of", "limited"]

#: Images of a class that are kept at least, where it has as many: enough for pairs and batches of them.
_OF_A_CLASS = 4

#: End of the version of a limited data set.
_LIMITED = "; limited to {} images a split"


def limited(dataset: Dataset, images: int) -> Dataset:
    """The data set with about so many images in each split: whole numbers of classes, in their order, with
    the first images of each, at least four of each role. Of classes that train shares with another split the
    same are kept in both. A test split with a list of pairs stays whole; a data set of few images is returned
    as it is."""
    train = dataset.split("train")
    kept = _cut(train, images, range(train.num_classes))
    splits: dict[SplitName, Split] = {"train": kept}
    names = {train.class_name(label) for label in range(train.num_classes)}
    chosen = {kept.class_name(label) for label in range(kept.num_classes)}
    for name in ("calibration", "test"):
        split = dataset.split(name)
        own = [split.class_name(label) for label in range(split.num_classes)]
        shared = [label for label, each in enumerate(own) if each in chosen]
        labels = shared if names.intersection(own) and len(shared) > 1 else range(split.num_classes)
        paired = name == "test" and isinstance(dataset, PairedDataset)
        splits[name] = split if paired else _cut(split, images, labels)
    if all(splits[name] is dataset.split(name) for name in SPLITS):
        return dataset
    kind = _LimitedPairs if isinstance(dataset, PairedDataset) else _Limited
    return kind(dataset, splits, images)


def limit_of(version: str) -> int | None:
    """The limit of the data set with this version, None for a whole one."""
    start, end = _LIMITED.split("{}")
    _, _, count = version.removesuffix(end).rpartition(start)
    return int(count) if version.endswith(end) and count.isdecimal() else None


class _Limited:
    """A `Dataset` of limited splits."""

    def __init__(self, dataset: Dataset, splits: Mapping[SplitName, Split], images: int) -> None:
        self._dataset: Any = dataset
        self._splits = splits
        self.version = f"{dataset.version}{_LIMITED.format(images)}"
        counts = ", ".join(
            f"{name} {len(split)} of {len(dataset.split(name))}" for name, split in self._splits.items()
        )
        self.notes: Sequence[str] = (
            *dataset.notes,
            f"limited to {images} images a split ({counts}): the metrics are those of a first look",
        )
        if hasattr(dataset, "white"):
            self.white = dataset.white

    @property
    def disjoint(self) -> bool:
        return bool(self._dataset.disjoint)

    def split(self, name: SplitName) -> Split:
        return self._splits[name]


class _LimitedPairs(_Limited):
    """A `PairedDataset` of limited splits."""

    def pairs(self) -> PairList:
        found: PairList = self._dataset.pairs()
        return found


def _cut(split: Split, images: int, labels: Sequence[int]) -> Split:
    """About so many images of a split, of the first of these classes."""
    if len(split) <= images and len(labels) == split.num_classes:
        return split
    each = max(_OF_A_CLASS, -(-images // len(labels)))
    classes = {label: number for number, label in enumerate(labels[: max(2, images // each)])}
    kept = array("q")
    seen: Counter[tuple[int, int]] = Counter()
    for index in range(len(split)):
        if (label := split.label(index)) in classes:
            key = label, split.role(index)
            seen[key] += 1
            if seen[key] <= each:
                kept.append(index)
    return _LimitedSplit(split, kept, classes)


@dataclass(frozen=True)
class _LimitedSplit:
    """Some images of a split. images: their indices in it, ascending. labels: here, by the label there."""

    split: Split
    images: array[int]
    labels: Mapping[int, int]

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    def __len__(self) -> int:
        return len(self.images)

    def label(self, index: int) -> int:
        return self.labels[self.split.label(self.images[index])]

    def image(self, index: int) -> Image.Image:
        return self.split.image(self.images[index])

    def class_name(self, label: int) -> str:
        return self.split.class_name(self._theirs[label])

    def role(self, index: int) -> int:
        return self.split.role(self.images[index])

    def where(self, index: int) -> str:
        return self.split.where(self.images[index]) if isinstance(self.split, LocatedSplit) else ""

    @cached_property
    def _theirs(self) -> list[int]:
        return list(self.labels)

    @cached_property
    def groups(self) -> np.ndarray | None:
        groups = self.split.groups if isinstance(self.split, GroupedSplit) else None
        return None if groups is None else groups[list(self.images)]

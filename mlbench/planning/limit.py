"""A data set cut to few images a split, for a first look at a suite."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlbench.contracts import (
    SPLITS,
    Dataset,
    GroupedSplit,
    PairedDataset,
    PairList,
    Split,
    SplitName,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["limited"]

#: Images of a class that are kept at least, where it has as many: enough for pairs and batches of them.
_OF_A_CLASS = 4


def limited(dataset: Dataset, images: int) -> Dataset:
    """The data set with about so many images in each split: whole numbers of classes, in their order, with
    the first images of each, at least four of each role. A test split with a list of pairs stays whole."""
    kind = _LimitedPairs if isinstance(dataset, PairedDataset) else _Limited
    return kind(dataset, images)


class _Limited:
    """A `Dataset` of limited splits."""

    def __init__(self, dataset: Dataset, images: int) -> None:
        self._dataset: Any = dataset
        self._splits: dict[SplitName, Split] = {name: self._cut(name, images) for name in SPLITS}
        self.version = f"{dataset.version}; limited to {images} images a split"
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

    def _cut(self, name: SplitName, images: int) -> Split:
        split: Split = self._dataset.split(name)
        return split if len(split) <= images else _LimitedSplit.of(split, images)


class _LimitedPairs(_Limited):
    """A `PairedDataset` of limited splits."""

    def pairs(self) -> PairList:
        found: PairList = self._dataset.pairs()
        return found

    def _cut(self, name: SplitName, images: int) -> Split:
        return self._dataset.split(name) if name == "test" else super()._cut(name, images)


@dataclass(frozen=True)
class _LimitedSplit:
    """Some images of a split. images: their indices in it, ascending. num_classes: its first classes."""

    split: Split
    images: array[int]
    num_classes: int

    @classmethod
    def of(cls, split: Split, images: int) -> _LimitedSplit:
        each = max(_OF_A_CLASS, -(-images // split.num_classes))
        classes = min(split.num_classes, max(2, images // each))
        kept = array("q")
        seen: Counter[tuple[int, int]] = Counter()
        for index in range(len(split)):
            label = split.label(index)
            if label < classes:
                key = label, split.role(index)
                seen[key] += 1
                if seen[key] <= each:
                    kept.append(index)
        return cls(split, kept, classes)

    def __len__(self) -> int:
        return len(self.images)

    def label(self, index: int) -> int:
        return self.split.label(self.images[index])

    def image(self, index: int) -> Image.Image:
        return self.split.image(self.images[index])

    def class_name(self, label: int) -> str:
        return self.split.class_name(label)

    def role(self, index: int) -> int:
        return self.split.role(self.images[index])

    @cached_property
    def groups(self) -> np.ndarray | None:
        groups = self.split.groups if isinstance(self.split, GroupedSplit) else None
        return None if groups is None else groups[list(self.images)]

"""Three splits as one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mlbench.plugin import PairList, Split, SplitName

__all__ = ["PairedSplitSet", "SplitSet"]

S = TypeVar("S", bound=Split)


@dataclass(frozen=True)
class SplitSet(Generic[S]):
    """A `Dataset` made of three splits. white: value of white pixels, None where each file defines it."""

    version: str
    disjoint: bool
    notes: Sequence[str]
    splits: Mapping[SplitName, S]
    white: float | None = None

    def split(self, name: SplitName) -> S:
        return self.splits[name]


@dataclass(frozen=True, kw_only=True)
class PairedSplitSet(SplitSet[S]):
    """A `PairedDataset`: three splits, and pairs of images of the test split."""

    listed: PairList

    def pairs(self) -> PairList:
        return self.listed

"""Findings of single images: the details of a case's evaluation, with the images that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlbench.contracts import LocatedSplit
from mlbench.page.images import ImageSource

if TYPE_CHECKING:
    from mlbench.contracts import Split
    from mlbench.evaluation.details import Details
    from mlbench.records.record import Record

__all__ = ["CaseFindings"]


@dataclass(frozen=True)
class CaseFindings:
    """What the evaluation of one record found of single images. Images have the numbers that `Details` gives
    them.

    record: of the case's median seed. details: see `mlbench.evaluation.details.Details`. splits: of its data
    set, by name, the scored one and the gallery; empty where they cannot be read, and `why` says why.
    """

    record: Record
    details: Details
    splits: Mapping[str, Split] = field(default_factory=dict)
    why: str = ""

    def source(self, image: int) -> tuple[ImageSource | None, int]:
        """Where an image comes from, and its index there."""
        name, index = self.details.place(image)
        split = self.splits.get(name)
        if split is None:
            return None, index
        return ImageSource(f"{self.record.data.get('version')} {name}", split.image), index

    def class_of(self, image: int) -> str:
        """The name of an image's class, "" where it is not known."""
        name, index = self.details.place(image)
        split = self.splits.get(name)
        return "" if split is None else str(split.class_name(split.label(index)))

    def name_of(self, image: int) -> str:
        """What to find an image by: its file where the data set knows it, else its number in its split."""
        name, index = self.details.place(image)
        split = self.splits.get(name)
        return (split.where(index) if isinstance(split, LocatedSplit) else "") or f"{name} {index}"

    def text(self, image: int) -> str:
        """An image in words: its class and its name."""
        return ", ".join(filter(None, (self.class_of(image), self.name_of(image))))

"""The images of all parts as one table of columns, for the searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlbench.inspection.findings import ImageName
from mlbench.inspection.subject import Part

__all__ = ["Pool"]


@dataclass(frozen=True)
class Pool:
    """All images, part after part. Classes of one name are one class, in whatever part."""

    parts: Sequence[Part]

    @cached_property
    def starts(self) -> np.ndarray:
        """(P + 1,) first position of each part, and the number of images."""
        return np.cumsum([0, *map(len, self.parts)])

    @cached_property
    def owners(self) -> np.ndarray:
        """(N,) part of each image."""
        return np.repeat(np.arange(len(self.parts)), np.diff(self.starts))

    @cached_property
    def names(self) -> list[str]:
        """Names of the classes of all parts, sorted."""
        return sorted({name for part in self.parts for name in part.classes})

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) position in `names`, -1 for an image without a label."""
        numbers = {name: number for number, name in enumerate(self.names)}
        columns = [np.zeros(0, np.int64)]
        for part in self.parts:
            known = np.array([*(numbers[name] for name in part.classes), -1], np.int64)
            columns.append(known[part.labels])  # -1 is the last one
        return np.concatenate(columns)

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,) groups, -1 for none."""
        columns = [np.full(len(part), -1) if part.groups is None else part.groups for part in self.parts]
        return np.concatenate([np.zeros(0, np.int64), *columns])

    def compared(self, first: int, second: int) -> bool:
        """Whether an evaluation may compare two images: not those of one class and one group."""
        group = self.groups[first]
        return bool(group < 0 or group != self.groups[second] or self.labels[first] != self.labels[second])

    def image(self, position: int) -> ImageName:
        number = int(self.owners[position])
        part, index = self.parts[number], position - int(self.starts[number])
        label = self.labels[position]
        file = part.source.name(index) or f"{part.split} image {index}".strip()
        return ImageName(part.split, index, self.names[label] if label >= 0 else "", file)

    def ranked(self, positions: Iterable[int]) -> list[int]:
        """Positions by part, class and file, whatever the order of the images in their part."""
        return sorted(positions, key=self._rank)

    def _rank(self, position: int) -> tuple[int, str, str, int]:
        image = self.image(position)
        return int(self.owners[position]), image.label, image.file, position

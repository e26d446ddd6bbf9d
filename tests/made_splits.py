"""Data sets of nothing but classes, roles and groups, made up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mlbench.contracts import GALLERY, QUERY, SplitName

BOTH = QUERY | GALLERY


@dataclass
class Split:
    """classes: of each image, by name. roles: BOTH where nothing is said."""

    classes: str
    roles: tuple[int, ...] = ()
    groups: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        return sorted(set(self.classes))

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return len(self.classes)

    def label(self, index: int) -> int:
        return self.names.index(self.classes[index])

    def image(self, index: int) -> None:
        raise AssertionError("no image is looked at")

    def class_name(self, label: int) -> str:
        return self.names[label]

    def role(self, index: int) -> int:
        return self.roles[index] if self.roles else BOTH


@dataclass
class Data:
    train: Split
    calibration: Split
    test: Split
    version: str = "1"
    disjoint: bool = False
    notes: tuple[str, ...] = field(default=())

    def split(self, name: SplitName) -> Split:
        return getattr(self, name)


class Paired(Data):
    def pairs(self) -> None:
        raise AssertionError


OPEN = Data(Split("aabb"), Split("ccdd"), Split("eeff"))
CLOSED = Data(Split("aaabbb"), Split("ab"), Split("abc"))
CATALOGUE = Data(
    Split("aabb"), Split("abab"), Split("ababcc", (QUERY, QUERY, GALLERY, GALLERY, GALLERY, GALLERY))
)

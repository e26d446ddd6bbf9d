"""Duplicates: images with the same content, under different names, classes or splits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from mlbench.plugin import SPLITS, SplitName
from mlbench_datasets.notes import examples

__all__ = ["HashedImage", "duplicate_notes"]


class HashedImage(NamedTuple):
    """An image. content: a value that equal images share, such as a hash. name: for messages."""

    split: SplitName
    label: str
    content: Hashable
    name: str


def duplicate_notes(images: Iterable[HashedImage]) -> list[str]:
    """Notes about duplicates, one for each kind: across splits (a test image may be in training), across
    classes, and within a class."""
    known: dict[Hashable, list[HashedImage]] = {}
    across: dict[tuple[SplitName, SplitName], list[str]] = {}
    inside: dict[bool, list[str]] = {True: [], False: []}
    for image in images:
        others = known.setdefault(image.content, [])
        for split in SPLITS:
            other = next((each for each in others if each.split == split != image.split), None)
            if other is not None:
                first, second = sorted((image, other), key=lambda each: SPLITS.index(each.split))
                pair = first.split, second.split
                across.setdefault(pair, []).append(f"{first.name} and {second.name}")
        here = [each for each in others if each.split == image.split]
        if here:
            other = next((each for each in here if each.label == image.label), here[0])
            inside[other.label == image.label].append(f"{image.name} = {other.name}")
        # Later duplicates are compared with one image of each split and class.
        if not any((each.split, each.label) == (image.split, image.label) for each in others):
            others.append(image)
    notes = [
        f"the same image is in {first} and {second}: {_some(names)}"
        for (first, second), names in sorted(across.items(), key=lambda each: [*map(SPLITS.index, each[0])])
    ]
    if inside[True]:
        notes.append(f"duplicates within a class, which every model matches: {examples(inside[True])}")
    if inside[False]:
        notes.append(f"duplicates across classes, which no model can tell apart: {examples(inside[False])}")
    return notes


def _some(names: list[str]) -> str:
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")

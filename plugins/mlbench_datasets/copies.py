"""Copies: images that are in a data set twice, under other names, classes or splits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from mlbench.plugin import SPLITS, SplitName
from mlbench_datasets.notes import examples

__all__ = ["Copy", "copy_notes"]


class Copy(NamedTuple):
    """An image. content: is equal for equal images. name: for messages."""

    split: SplitName
    label: str
    content: Hashable
    name: str


def copy_notes(images: Iterable[Copy]) -> list[str]:
    """What the user should know of copies, a line for each kind: in several splits, where what is scored may
    have been trained on; in several classes; within a class."""
    known: dict[Hashable, list[Copy]] = {}
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
        # One of each split and class is enough to compare with, however many copies there are.
        if not any((each.split, each.label) == (image.split, image.label) for each in others):
            others.append(image)
    notes = [
        f"the same image is in {first} and {second}: {_some(names)}"
        for (first, second), names in sorted(across.items(), key=lambda each: [*map(SPLITS.index, each[0])])
    ]
    if inside[True]:
        notes.append(f"copies within a class, which every model matches: {examples(inside[True])}")
    if inside[False]:
        notes.append(f"copies across classes, which no model can tell apart: {examples(inside[False])}")
    return notes


def _some(names: list[str]) -> str:
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")

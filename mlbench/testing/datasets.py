"""Checks of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.contracts import (
    GALLERY,
    QUERY,
    SPLITS,
    Dataset,
    GroupedSplit,
    LocatedSplit,
    PairedDataset,
    Split,
)
from mlbench.testing.check import Subject, expect
from mlbench.testing.copying import copies
from mlbench.testing.images import expect_rgb
from mlbench.testing.random_state import untouched

__all__ = ["CHECKS"]

_IMAGE_SIZE = 32
_MEMBERS = ("num_classes", "__len__", "label", "image", "class_name", "role")


def _dataset(subject: Subject) -> Any:
    return subject.build(root=Path(), image_size=_IMAGE_SIZE)


def dataset_has_three_splits(subject: Subject) -> None:
    dataset = _dataset(subject)
    lacking = [name for name in ("version", "disjoint", "notes", "split") if not hasattr(dataset, name)]
    expect(
        isinstance(dataset, Dataset),
        f"build returns {dataset!r}, which lacks {', '.join(lacking)}; return an object with version, "
        "disjoint, notes and split()",
    )
    version = dataset.version
    expect(isinstance(version, str) and version, f"`version` is {version!r}; set it to a non-empty string")
    other = _dataset(subject).version
    expect(
        version == other,
        f"two builds give the versions {version!r} and {other!r}; derive it from options and files "
        "alone, so that they give the same version",
    )
    expect(
        isinstance(dataset.disjoint, bool),
        f"`disjoint` is {dataset.disjoint!r}; set it to True where test has no class of train, else to False",
    )
    notes = dataset.notes
    expect(
        not isinstance(notes, str) and list(map(str, notes)) == [*notes],
        f"`notes` are {notes!r}; set a list or tuple of strings, which may be empty",
    )
    for name in SPLITS:
        split = dataset.split(name)
        lacking = [each for each in _MEMBERS if not hasattr(split, each)]
        expect(
            isinstance(split, Split),
            f"the {name} split lacks {', '.join(lacking)}; add what mlbench.plugin.Split has",
        )
        expect(len(split) > 0, f"the {name} split is empty; give it images, or raise a DataError in build")
        if isinstance(split, GroupedSplit) and split.groups is not None:
            shaped = split.groups.shape == (len(split),) and split.groups.dtype.kind == "i"
            expect(
                shaped,
                f"`groups` of the {name} split have shape {split.groups.shape} and type {split.groups.dtype}"
                "; set one integer for each image, or None",
            )
        if isinstance(split, LocatedSplit):
            place = split.where(0)
            expect(
                isinstance(place, str) and len(place.splitlines()) < 2,
                f"`where(0)` of the {name} split is {place!r}; return a string of one line",
            )


def labels_are_contiguous(subject: Subject) -> None:
    dataset = _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        labels = {split.label(index) for index in range(len(split))}
        expect(
            labels == set(range(split.num_classes)),
            f"labels of the {name} split are {_few(labels)}; number its classes 0 .. {split.num_classes - 1} "
            "(num_classes - 1), so that each occurs",
        )


def classes_have_names(subject: Subject) -> None:
    dataset = _dataset(subject)
    names: dict[str, set[str]] = {}
    for name in SPLITS:
        split = dataset.split(name)
        every = [split.class_name(label) for label in range(split.num_classes)]
        names[name] = set(every)
        twice = sorted({each for each in every if every.count(each) > 1})[:3]
        expect(
            not twice,
            f"two classes of the {name} split have the name {', '.join(map(repr, twice))}; make names unique",
        )
    if dataset.disjoint:
        shared = names["test"] & (names["train"] | names["calibration"])
        expect(
            not shared,
            f"`disjoint` is True and classes of test are in another split: {sorted(shared)[:3]}; set it to "
            "False, or divide the classes",
        )


def roles_allow_a_test(subject: Subject) -> None:
    dataset = _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        roles = [split.role(index) for index in range(len(split))]
        known = {0, QUERY, GALLERY, QUERY | GALLERY}
        odd = sorted(set(roles) - known, key=repr)[:3]
        expect(
            not odd,
            f"role() of the {name} split returns {', '.join(map(repr, odd))}; return QUERY, GALLERY, "
            "QUERY | GALLERY, or 0 for neither",
        )
        complete = any(role & QUERY for role in roles) and any(role & GALLERY for role in roles)
        # The test images of a paired data set may have no labels.
        paired = name == "test" and isinstance(dataset, PairedDataset)
        expect(
            complete or name == "train" or paired,
            f"the {name} split lacks queries or a gallery; return roles with QUERY for some of its images "
            "and with GALLERY for some",
        )


def images_are_always_the_same(subject: Subject) -> None:
    with untouched("build()", "draw from generators of your own, with fixed seeds"):
        dataset = _dataset(subject)
    again = _dataset(subject)
    for name in SPLITS:
        split = dataset.split(name)
        others = {"a second call": split, **copies(split, "a split"), "a second build": again.split(name)}
        for index in {0, len(split) // 2, len(split) - 1}:
            with untouched("image()", "draw from a generator made from the index"):
                image = split.image(index)
            expect_rgb(image, "image()")
            for how, other in others.items():
                same = other.image(index).tobytes() == image.tobytes()
                expect(
                    same,
                    f"{how} gives image {index} of the {name} split other pixels; make them depend on "
                    "options and index alone",
                )


def pairs_are_right(subject: Subject) -> None:
    dataset = _dataset(subject)
    if not isinstance(dataset, PairedDataset):
        return
    pairs, split = dataset.pairs(), dataset.split("test")
    count = len(pairs.left)
    lengths = [len(column) for column in pairs]
    expect(
        set(lengths) == {count},
        f"left, right, same and folds have {', '.join(map(str, lengths))} elements; they must have the same "
        "length: give one element for each pair",
    )
    rows = np.concatenate([pairs.left, pairs.right])
    expect(
        rows.min() >= 0 and rows.max() < len(split),
        f"left and right run from {rows.min()} to {rows.max()} and test has {len(split)} images; give "
        "indices into the test split",
    )
    for left, right, same in zip(*pairs[:3], strict=True):
        if split.role(int(left)) and split.role(int(right)):
            equal = split.label(int(left)) == split.label(int(right))
            expect(
                equal == bool(same),
                f"`same` of the pair {left}, {right} is {bool(same)} and label() says {equal}; set it to "
                "True where the images have the same label, or set their role() to 0",
            )


def _few(labels: set[int]) -> str:
    """Some labels, in order."""
    first = sorted(labels)
    return ", ".join(map(str, first if len(first) < 7 else [*first[:3], "...", *first[-2:]]))


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "dataset": (
        dataset_has_three_splits,
        labels_are_contiguous,
        classes_have_names,
        roles_allow_a_test,
        images_are_always_the_same,
        pairs_are_right,
    ),
}

"""The gallery of a protocol: the split that queries are compared with.

Checked before any work, so that a protocol that does not fit the data set fails early.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from mlbench.contracts import (
    GALLERY,
    QUERY,
    Dataset,
    GroupedSplit,
    PairedDataset,
    Split,
    SplitName,
)
from mlbench.errors import DataError

__all__ = ["GalleryName", "check_protocol", "gallery_split", "suggest_gallery"]

#: test: leave one out among the test images, or by the roles in the data set. train: the training images are
#: the gallery (closed set), and the test images are queries, except those that the data set marks as gallery
#: only. gallery: only by the roles in the data set.
GalleryName = Literal["test", "train", "gallery"]

#: Number of classes that must have a query with a positive, in the calibration and the test split.
_LEAST = 2


def gallery_split(dataset: Dataset, name: SplitName, gallery: GalleryName) -> SplitName:
    """The split whose images are the gallery for the queries of split `name`, calibration or test.

    Calibration follows the protocol of test: its gallery is the training images if that of test is, and the
    test gallery if calibration states no roles and shares classes with test.
    """
    if gallery == "train":
        return "train"
    if gallery == "gallery" and name == "calibration":
        calibration, test = dataset.split("calibration"), dataset.split("test")
        if not _states_roles(calibration) and not _names(calibration).isdisjoint(_names(test)):
            return "test"
    return name


def check_protocol(dataset: Dataset, gallery: GalleryName, scored: SplitName = "test") -> None:
    """Raise DataError if the data set cannot be evaluated by the protocol. scored: the split whose images are
    queries, besides calibration."""
    option = f"evaluation.gallery is {gallery}"
    if gallery == "gallery" and not _states_roles(dataset.split("test")):
        raise DataError(
            f"{option}, but no test image is only a query or only in the gallery; state roles in the data "
            "set (in a manifest by is_query and is_gallery), or set gallery: test or train"
        )
    names: tuple[SplitName, ...] = ("calibration", scored)
    for name in names:
        other = gallery_split(dataset, name, gallery)
        if name == other == "test" and isinstance(dataset, PairedDataset):
            continue
        queries, images = dataset.split(name), dataset.split(other)
        if other != name and _names(queries).isdisjoint(_names(images)):
            raise DataError(
                f"{option}, but {name} and {other} share no class; choose a data set, or an option of it, "
                f"that gives {name} images of the classes of {other}, or set evaluation.gallery: test"
            )
        if (count := _count_classes_with_positive(queries, images, trained=other == "train")) < _LEAST:
            place = "in the same split" if other == name else f"in the {other} split"
            raise DataError(
                f"{option}, but {count} of the {name} classes {'has' if count == 1 else 'have'} a query and "
                f"another image of the class {place}; at least {_LEAST} are needed; give them more images "
                f"(of other groups, where there are groups){_advice(dataset, name, gallery)}"
            )


def suggest_gallery(dataset: Dataset) -> tuple[GalleryName, str]:
    """The protocol that fits a data set, and the reason: its roles if it states any; the training images as
    gallery if they have most of the test classes; else the test images."""
    test = dataset.split("test")
    tested = _names(test)
    known = len(tested & _names(dataset.split("train")))
    share = f"{known:,} of {len(tested):,} test classes are trained on"
    found: tuple[GalleryName, str] = "test", f"{share}, so test images are compared with each other"
    if _states_roles(test):
        found = "gallery", "the data set states which test images are queries and which are the gallery"
    elif 2 * known > len(tested):
        found = "train", f"{share}, so test images are compared with training images (closed set)"
    try:
        check_protocol(dataset, found[0])
    except DataError:
        return "test", f"{share}, and test images can only be compared with each other"
    return found


def _advice(dataset: Dataset, name: SplitName, gallery: GalleryName) -> str:
    if gallery == "train" or _names(dataset.split(name)).isdisjoint(_names(dataset.split("train"))):
        return ""
    return ", or set evaluation.gallery: train"


def _names(split: Split) -> set[str]:
    return {split.class_name(label) for label in range(split.num_classes)}


def _states_roles(split: Split) -> bool:
    """Whether the data set states roles. An image that is the only one of its class is no query by default,
    so that its role does not count."""
    roles = [split.role(index) for index in range(len(split))]
    if QUERY in roles:
        return True
    if GALLERY not in roles:
        return False
    sizes = Counter(split.label(index) for index in range(len(split)))
    return any(role == GALLERY and sizes[split.label(index)] > 1 for index, role in enumerate(roles))


def _count_classes_with_positive(queries: Split, images: Split, *, trained: bool) -> int:
    """Number of classes that have a query with another image of the class in the gallery.

    The count stops at `_LEAST`, so that most splits are read only in part. queries, images: one split, or
    two. trained: whether all images are in the gallery, in any role.
    """
    # Up to two groups of queries and of gallery images for each class: more do not change the result.
    query_groups: dict[str, set[int]] = {}
    image_groups: dict[str, set[int]] = {}
    apart = queries is not images
    sides = (
        (queries, QUERY, query_groups),
        (images, QUERY | GALLERY if trained else GALLERY, image_groups),
    )
    sizes = Counter(queries.label(index) for index in range(len(queries))) if apart else Counter[int]()
    done: set[str] = set()
    for index in range(max(len(queries), len(images))):
        for side, (split, needed, known) in enumerate(sides):
            if index >= len(split):
                continue
            # With another split as gallery, the only image of a class is a query in any role.
            alone = side == 0 and sizes[split.label(index)] == 1
            if not alone and not split.role(index) & needed:
                continue
            name = split.class_name(split.label(index))
            groups = known.setdefault(name, set())
            if len(groups) < 2:
                groups.add(_group(split, index, side if apart else 0))
            if (
                name in query_groups
                and name in image_groups
                and len(query_groups[name] | image_groups[name]) > 1
            ):
                done.add(name)
                if len(done) == _LEAST:
                    return _LEAST
    return len(done)


def _group(split: Split, index: int, side: int) -> int:
    """The group of an image; a unique number for each split if it is in none."""
    groups = split.groups if isinstance(split, GroupedSplit) else None
    if groups is not None and groups[index] >= 0:
        return int(groups[index])
    return -1 - 2 * index - side

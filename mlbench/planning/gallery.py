"""The gallery of a protocol: the split in which queries search.

Asked before any work, so that a protocol which the data set cannot serve is found at once.
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

#: test: leave one out among the test images, or by the roles that the data set states. train: the test images
#: are queries, but for those that the data set states to be gallery alone, and the training images are the
#: gallery (closed set). gallery: by the roles that the data set states, and by nothing else.
GalleryName = Literal["test", "train", "gallery"]

#: Classes that must have a query and an answer, on calibration and on test.
_LEAST = 2


def gallery_split(dataset: Dataset, name: SplitName, gallery: GalleryName) -> SplitName:
    """The split whose images are the gallery for the queries of split `name`, calibration or test.

    Calibration is judged as test is: against the training images where test is, and against the data set's
    own gallery where that has its classes and calibration has no gallery itself.
    """
    if gallery == "train":
        return "train"
    if gallery == "gallery" and name == "calibration":
        calibration, test = dataset.split("calibration"), dataset.split("test")
        if not _states_roles(calibration) and not _names(calibration).isdisjoint(_names(test)):
            return "test"
    return name


def check_protocol(dataset: Dataset, gallery: GalleryName) -> None:
    """Raise DataError where the data set cannot be evaluated by the protocol."""
    option = f"evaluation.gallery is {gallery}"
    if gallery == "gallery" and not _states_roles(dataset.split("test")):
        raise DataError(
            f"{option}, but no test image is only a query or only in the gallery; state roles in the data "
            "set (in a manifest by is_query and is_gallery), or set gallery: test or train"
        )
    names: tuple[SplitName, ...] = ("calibration", "test")
    for name in names:
        searched = gallery_split(dataset, name, gallery)
        if name == searched == "test" and isinstance(dataset, PairedDataset):
            continue
        split, found = dataset.split(name), dataset.split(searched)
        if searched != name and _names(split).isdisjoint(_names(found)):
            raise DataError(
                f"{option}, but {name} and {searched} share no class; choose a data set, or an option of it, "
                f"that gives {name} images of the classes of {searched}, or set evaluation.gallery: test"
            )
        if (count := _answerable(split, found, trained=searched == "train")) < _LEAST:
            place = "in the same split" if searched == name else f"in the {searched} split"
            raise DataError(
                f"{option}, but of the {name} classes {count} {'has' if count == 1 else 'have'} a query and "
                f"another image {place} for it to find; at least {_LEAST} are needed; give them more images "
                f"(of other groups, where there are groups){_advice(dataset, name, gallery)}"
            )


def suggest_gallery(dataset: Dataset) -> tuple[GalleryName, str]:
    """The protocol that fits a data set, and why: the roles that it states; the training images where most
    test classes are trained on; else the test images themselves."""
    test = dataset.split("test")
    tested = _names(test)
    known = len(tested & _names(dataset.split("train")))
    share = f"{known:,} of {len(tested):,} test classes are trained on"
    found: tuple[GalleryName, str] = "test", f"{share}, so test images are to find each other"
    if _states_roles(test):
        found = "gallery", "the data say which test images are queries and which are the gallery"
    elif 2 * known > len(tested):
        found = "train", f"{share}, so test images are to find training images (closed set)"
    try:
        check_protocol(dataset, found[0])
    except DataError:
        return "test", f"{share}, and test images can only find each other"
    return found


def _advice(dataset: Dataset, name: SplitName, gallery: GalleryName) -> str:
    if gallery == "train" or _names(dataset.split(name)).isdisjoint(_names(dataset.split("train"))):
        return ""
    return ", or set evaluation.gallery: train"


def _names(split: Split) -> set[str]:
    return {split.class_name(label) for label in range(split.num_classes)}


def _states_roles(split: Split) -> bool:
    """Whether the data set says who asks and who is found. That an image which is alone in its class does not
    ask says nothing."""
    roles = [split.role(index) for index in range(len(split))]
    if QUERY in roles:
        return True
    if GALLERY not in roles:
        return False
    sizes = Counter(split.label(index) for index in range(len(split)))
    return any(role == GALLERY and sizes[split.label(index)] > 1 for index, role in enumerate(roles))


def _answerable(asking: Split, found: Split, *, trained: bool) -> int:
    """How many classes have a query that another image answers, counted up to the least that is needed: most
    splits need not be looked at for long. asking, found: one split, or two. trained: all of found may be."""
    # Of each class the groups that ask and those that are found: two tell as much as all.
    asked: dict[str, set[int]] = {}
    answers: dict[str, set[int]] = {}
    apart = asking is not found
    sides = ((asking, QUERY, asked), (found, QUERY | GALLERY if trained else GALLERY, answers))
    sizes = Counter(asking.label(index) for index in range(len(asking))) if apart else Counter[int]()
    done: set[str] = set()
    for index in range(max(len(asking), len(found))):
        for side, (split, needed, known) in enumerate(sides):
            if index >= len(split):
                continue
            alone = side == 0 and sizes[split.label(index)] == 1  # a query of another split, in any role
            if not alone and not split.role(index) & needed:
                continue
            name = split.class_name(split.label(index))
            groups = known.setdefault(name, set())
            if len(groups) < 2:
                groups.add(_group(split, index, side if apart else 0))
            if name in asked and name in answers and len(asked[name] | answers[name]) > 1:
                done.add(name)
                if len(done) == _LEAST:
                    return _LEAST
    return len(done)


def _group(split: Split, index: int, side: int) -> int:
    """The group of an image; of one that is in none, a number of its own, for either side."""
    groups = split.groups if isinstance(split, GroupedSplit) else None
    if groups is not None and groups[index] >= 0:
        return int(groups[index])
    return -1 - 2 * index - side

"""The user's own images: a folder with a sub-folder for each class, or a manifest."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mlbench.plugin import (
    GALLERY,
    MANIFEST_SUFFIXES,
    QUERY,
    SPLITS,
    DataError,
    DatasetContext,
    ManifestRow,
    OptionError,
    SplitName,
    find_path,
    one_form,
    read_manifest,
)
from mlbench_datasets.assignment import assign
from mlbench_datasets.division_options import DivideOptions, Share
from mlbench_datasets.duplicates import HashedImage, duplicate_notes
from mlbench_datasets.folder import read_folder
from mlbench_datasets.image_index import Index, index_images
from mlbench_datasets.image_split import ImageSplit
from mlbench_datasets.notes import examples, left_out, remarked
from mlbench_datasets.partition import MIN_CLASSES, Divided
from mlbench_datasets.split_set import SplitSet

__all__ = ["ImageFolder"]

_BOTH = QUERY | GALLERY


class ImageFolder(DivideOptions):
    """Your own images, upright, in sRGB: JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP, PPM, JPEG 2000, and HEIC with
    pip install 'mlbench[heic]'.

    Files that cannot be read are left out and named in the notes. Colours are converted from the file's
    profile to sRGB. Names that differ only in their Unicode form are the same name.

    A manifest is a table with one row for each image. Its first line names the columns, commas separate them:

        path,label,split
        shelf/0001.jpg,oat milk,train
        shelf/0002.jpg,apple juice,test

    path: image file, absolute or relative to the manifest's folder. label: its class. The other columns are
    optional. split: train, calibration (val) or test, for all rows or for none; query or gallery for a test
    image that is only a query or only in the gallery. is_query, is_gallery: false for a test image that is no
    query, or not in the gallery. An image that several splits use has a row for each of them; it may be in
    the gallery of any number of splits, but in training, or a query, in only one. session: images of one
    class with the same text in this column, such as photographs of one scene, are never compared with each
    other. box: "x1,y1,x2,y2", the part of the upright image to use, in pixels.

    Raises DataError for what cannot be used: a missing folder, an empty class, too few classes; OptionError
    for a level without class folders.
    """

    path: str
    """A folder with a sub-folder for each class, or with train/, test/ and optionally calibration/ (or val/,
    valid/, validation/, dev/; case does not matter) that hold sub-folders for each class; or a manifest,
    .csv or .parquet (see above)."""
    calibration: Share = 0.2
    """Share of the classes, or of the images of each class, in calibration, where thresholds are fitted.
    Where only the calibration split is missing, the share of training that becomes it."""
    divide: Divided | None = None
    """What to divide where there are no splits yet: classes, so that test has new ones, or the images of each
    class (closed set, see `evaluation.gallery`), with each group in one split. Default: classes; but images
    where there is no calibration split and test has classes of training."""
    level: Annotated[int, Field(ge=1)] = 1
    """Depth of the class folders below the folder, or below those of the splits: 1 for its sub-folders, 2 for
    theirs, which are called "fruit/apple". Images at a lower depth belong to the folder that they are in.
    Not used with a manifest."""
    group: str = ""
    """Column of a manifest; two images of one class with the same text in it are never compared with each
    other. Default: session, where there is such a column."""
    white: Annotated[float, Field(gt=0)] | None = None
    """Value of white in images with more than 8 bits a channel, such as 4095 for 12 bits. Default: what the
    file's format or fields state; else 255, 4095 or 65535, the first that no pixel of the image exceeds, with
    a note: one white for all images keeps their relative brightness. Required for integers above 65535 and
    for floats."""

    def build(self, context: DatasetContext) -> SplitSet[ImageSplit]:
        place = find_path(context.root / Path(self.path).expanduser())
        if place.suffix.lower() in MANIFEST_SUFFIXES and not place.is_dir():
            manifest, root = read_manifest(place, self.group), place.parent
        elif place.is_file():
            suffixes = " or ".join(MANIFEST_SUFFIXES)
            raise DataError(f"{place}: neither a folder nor a manifest, which ends in {suffixes}")
        elif self.group:
            raise OptionError(
                f"{place}: group is {self.group!r}, but only a manifest has columns; write one", "group"
            )
        else:
            manifest, root = read_folder(place, self.level), place
        # In one Unicode form, so that the order, and with it the version, is the same on every file system.
        manifest.rows.sort(key=lambda row: (one_form(row.path), row.box or ()))
        files = list(dict.fromkeys(row.path for row in manifest.rows))  # boxes may share one
        index = index_images(root, files, source=place, white=self.white)
        notes = list(manifest.notes)
        rows, digests = _readable(place, manifest.rows, files, index, notes)
        notes += remarked(files, index.remarks)
        members = assign(place, rows, notes, self)
        groups = _groups(rows)
        splits = {
            name: _split(
                root, rows, members[name], groups, context.image_size, self.white, train=name == "train"
            )
            for name in SPLITS
        }
        notes += _copies(rows, digests, members)
        if rows[0].split is not None:  # else `assign` has added a note
            notes += _shared(splits)
        for name in ("calibration", "test"):
            _check_scorable(place, name, splits)
        held_out = set(splits["test"].names)
        disjoint = all(held_out.isdisjoint(splits[name].names) for name in ("train", "calibration"))
        version = hashlib.blake2b(b"" if self.white is None else repr(self.white).encode(), digest_size=8)
        for name in SPLITS:
            version.update(splits[name].fingerprint(digests[members[name]]))
        return SplitSet(version.hexdigest(), disjoint, tuple(notes), splits, self.white)


def _readable(
    place: Path, rows: list[ManifestRow], files: list[str], index: Index, notes: list[str]
) -> tuple[list[ManifestRow], np.ndarray]:
    """The rows whose images can be read, and the digests of their files; notes about the others are added to
    `notes`."""
    positions = {path: position for position, path in enumerate(files)}
    where = [positions[row.path] for row in rows]
    kept = [i for i, position in enumerate(where) if position not in index.unreadable]
    if index.unreadable:
        text = left_out(files, index.unreadable)
        if not kept:
            raise DataError(f"{place}: {text}")
        notes.append(text)
        lost = {row.label for row in rows} - {rows[i].label for i in kept}
        if lost:
            notes.append(f"classes left without an image: {examples(sorted(lost))}")
    for i in kept:
        box, width, height = rows[i].box, index.widths[where[i]], index.heights[where[i]]
        if box is not None and (box[2] > width + 1 or box[3] > height + 1):  # 1 for rounding
            text = ",".join(f"{edge:g}" for edge in box)
            raise DataError(f"{rows[i].where}: box {text} is not inside the image, {width}x{height} pixels")
    return [rows[i] for i in kept], index.digests[[where[i] for i in kept]]


def _copies(rows: list[ManifestRow], digests: np.ndarray, members: dict[SplitName, list[int]]) -> list[str]:
    """Notes about images with the same content, which match trivially. An image that has a row for each of
    its splits is no duplicate: it is never compared with itself."""
    once = {(rows[i].path, rows[i].box): (name, i) for name, positions in members.items() for i in positions}
    return duplicate_notes(
        HashedImage(name, rows[i].label, (digests[i].tobytes(), rows[i].box), rows[i].path)
        for name, i in once.values()
    )


def _shared(splits: dict[SplitName, ImageSplit]) -> list[str]:
    """Notes about classes that are in two splits."""
    notes = []
    for first, second in combinations(SPLITS, 2):
        names = sorted(set(splits[first].names).intersection(splits[second].names))
        if names:
            count = f"{len(names)} of {splits[second].num_classes}"
            notes.append(
                f"classes of the {second} split that the {first} split also has: {count} ({examples(names)})"
            )
    return notes


def _groups(rows: list[ManifestRow]) -> np.ndarray | None:
    """Groups of the rows (see `GroupedSplit`); an image in several splits is also a group."""
    uses = Counter((row.path, row.box) for row in rows)
    numbers: dict[Any, int] = {}
    groups = [
        numbers.setdefault(row.group or (row.path, row.box), len(numbers))
        if row.group or uses[row.path, row.box] > 1
        else -1
        for row in rows
    ]
    return np.array(groups, np.int64) if numbers else None


def _split(
    root: Path,
    everything: list[ManifestRow],
    members: list[int],
    groups: np.ndarray | None,
    image_size: int,
    white: float | None,
    *,
    train: bool,
) -> ImageSplit:
    rows = [everything[i] for i in members]
    names = sorted({row.label for row in rows})
    positions = {name: label for label, name in enumerate(names)}
    labels = np.array([positions[row.label] for row in rows], dtype=np.int32)
    # The only image of a class is no query: the gallery has no match.
    default = np.where((np.bincount(labels, minlength=1)[labels] > 1) | train, _BOTH, GALLERY)
    roles = [
        given if row.role is None else row.role for row, given in zip(rows, default.tolist(), strict=True)
    ]
    boxes = None
    if any(row.box for row in rows):
        boxes = np.array([row.box or (np.nan,) * 4 for row in rows], dtype=np.float32)
    paths = np.array([os.fsencode(row.path) for row in rows])
    return ImageSplit(
        str(root),
        paths,
        labels,
        np.array(roles, np.uint8),
        boxes,
        names,
        image_size,
        white,
        None if groups is None else groups[members],
    )


def _check_scorable(place: Path, name: SplitName, splits: Mapping[SplitName, ImageSplit]) -> None:
    """Raise DataError unless two classes have a query and another image in the gallery, or are in another
    split, which a protocol may use as gallery."""
    split = splits[name]
    others = {each for other in SPLITS if other != name for each in splits[other].names}
    if len(others.intersection(split.names)) >= MIN_CLASSES:
        return
    is_query, in_gallery = split.roles & QUERY > 0, split.roles & GALLERY > 0
    queries, gallery, both = (
        np.bincount(split.labels[which], minlength=split.num_classes)
        for which in (is_query, in_gallery, is_query & in_gallery)
    )
    alone = (queries == 1) & (gallery == 1) & (both == 1)
    scorable = int(((queries > 0) & (gallery > 0) & ~alone).sum())
    if scorable < MIN_CLASSES:
        raise DataError(
            f"{place}: classes in the {name} split with a query and another image in the gallery: "
            f"{scorable}; at least {MIN_CLASSES} are needed"
        )

"""The user's own images: a folder with a sub-folder for each class, or a manifest."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from mlbench.contracts import GALLERY, QUERY, SPLITS, SplitName
from mlbench.errors import DataError, OptionError
from mlbench.images.decode import read_image
from mlbench.names import find_path, one_form
from mlbench_datasets.assignment import assign
from mlbench_datasets.copies import Copy, copy_notes
from mlbench_datasets.index import Index, index_images
from mlbench_datasets.layout import read_folder
from mlbench_datasets.manifest import MANIFEST_SUFFIXES, Row, read_manifest
from mlbench_datasets.notes import examples, left_out, remarked
from mlbench_datasets.partition import MIN_CLASSES, Divided, check_fractions

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageFolder", "ImageSplit", "image_folder"]

_BOTH = QUERY | GALLERY


def image_folder(
    data_root: Path,
    image_size: int,
    *,
    path: str,
    level: Annotated[int, Field(ge=1)] = 1,
    divide: Divided | None = None,
    group: str = "",
    white: Annotated[float, Field(gt=0)] | None = None,
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    seed: int = 0,
) -> ImageFolder:
    """Images of your own, upright, in sRGB: JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP, PPM, JPEG 2000, and HEIC
    with pip install 'mlbench[heic]'. Files that cannot be read are left out and named in the notes. Colours
    are converted from the profile of the file. Names are the same in whatever Unicode form they are written.

    Options
    -------
    path: a folder with a sub-folder for each class, or with train/, test/ and perhaps calibration/ (or val/,
        valid/, validation/, dev/; capitals do not matter) that hold such; or a manifest, .csv or .parquet
        (see below).
    level: how deep the folders of the classes lie in the folder, or in those of the splits: 1 for its
        sub-folders, 2 for theirs, which are called "fruit/apple". Images less deep belong to the folder that
        they are in. Of no meaning for a manifest.
    divide: what is divided where the user has not made the splits: classes, so that test has new ones, or
        the images of each class (closed set, see `evaluation.gallery`), those of one group together. Default:
        classes; but where the user has made test with classes of training, and no calibration, images.
    group: column of a manifest; two images of one class with the same text in it are never compared with
        each other. Default: session, where there is such a column.
    white: the value that is white in images with more than 8 bits in a channel, such as 4095 for 12 bits. By
        default the file says it, as formats and some of their fields do; else it is 255, 4095 or 65535, the
        first that no pixel of the image is above, and a note says so: with one white for all of your images
        they keep their relative brightness. Integers above 65535 and floats need it.
    calibration, test: shares of the classes, or of the images of each, that are kept from training to fit
        thresholds on and to be scored on. Without a calibration split only, `calibration` is the share of
        training that becomes one.
    seed: of the division into splits.

    A manifest is a table with one row for each image. Its first line names the columns, commas separate them:

        path,label,split
        shelf/0001.jpg,oat milk,train
        shelf/0002.jpg,apple juice,test

    path: of the image file, absolute or from the manifest's folder on. label: its class. The others may be
    left out. split: train, calibration (val) or test, for all rows or for none; query or gallery is a test
    image that only asks or is only found. is_query, is_gallery: false for a test image that does not ask, or
    is not to be found. An image that is used in several splits has a row for each; it may be found in any
    number of them, but be trained on, or ask, in one alone. session: images of one class with the same text
    in it, such as photographs of one scene, are never compared with each other. box: "x1,y1,x2,y2", the part
    of the upright image that is meant, in pixels.

    Raises DataError for what cannot be used: a missing folder, an empty class, too few classes; OptionError
    for a level without class folders.
    """
    check_fractions(calibration, test)
    place = find_path(data_root / Path(path).expanduser())
    if place.suffix.lower() in MANIFEST_SUFFIXES and not place.is_dir():
        manifest, root = read_manifest(place, group), place.parent
    elif place.is_file():
        suffixes = " or ".join(MANIFEST_SUFFIXES)
        raise DataError(f"{place}: neither a folder nor a manifest, which ends in {suffixes}")
    elif group:
        raise OptionError(f"{place}: group is {group!r}, but only a manifest has columns; write one", "group")
    else:
        manifest, root = read_folder(place, level), place
    # In one form, so that the order, and the version with it, is the same on every file system.
    manifest.rows.sort(key=lambda row: (one_form(row.path), row.box or ()))
    files = list(dict.fromkeys(row.path for row in manifest.rows))  # boxes may share one
    index = index_images(root, files, source=place, white=white)
    notes = list(manifest.notes)
    rows, digests = _readable(place, manifest.rows, files, index, notes)
    notes += remarked(files, index.remarks)
    members = assign(place, rows, notes, divide=divide, calibration=calibration, test=test, seed=seed)
    groups = _groups(rows)
    splits = {
        name: _split(root, rows, members[name], groups, image_size, white, train=name == "train")
        for name in SPLITS
    }
    notes += _copies(rows, digests, members)
    if rows[0].split is not None:  # where images were divided here, a note has said it
        notes += _shared(splits)
    for name in ("calibration", "test"):
        _check_scorable(place, name, splits)
    held_out = set(splits["test"].names)
    disjoint = held_out.isdisjoint(splits["train"].names) and held_out.isdisjoint(splits["calibration"].names)
    version = hashlib.blake2b(b"" if white is None else repr(white).encode(), digest_size=8)
    for name in SPLITS:
        version.update(splits[name].fingerprint(digests[members[name]]))
    return ImageFolder(version.hexdigest(), disjoint, tuple(notes), splits, white)


@dataclass(frozen=True)
class ImageFolder:
    """Three splits of a user's images."""

    version: str
    disjoint: bool
    notes: Sequence[str]
    splits: dict[SplitName, ImageSplit]
    white: float | None = None

    def split(self, name: SplitName) -> ImageSplit:
        return self.splits[name]


@dataclass(frozen=True)
class ImageSplit:
    """One split, in arrays, so that a million images stay small and go to other processes quickly.

    paths: (N,) bytes, relative to root or absolute. labels: (N,) int32. roles: (N,) uint8.
    boxes: (N, 4) float32, all NaN for a whole image. groups: (N,) int64 (see `GroupedSplit`).
    """

    root: str
    paths: np.ndarray
    labels: np.ndarray
    roles: np.ndarray
    boxes: np.ndarray | None
    names: list[str]
    image_size: int
    white: float | None = None
    groups: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def image(self, index: int) -> Image.Image:
        """Raises DataError when the file cannot be read any more."""
        box = None if self.boxes is None or np.isnan(self.boxes[index, 0]) else self.boxes[index].tolist()
        file = Path(self.root, os.fsdecode(self.paths[index]))
        # Twice what is needed, so that the resizing and cropping to come have pixels to average.
        return read_image(file, short_side=2 * self.image_size, box=box, white=self.white)

    def class_name(self, label: int) -> str:
        return self.names[label]

    def role(self, index: int) -> int:
        return int(self.roles[index])

    def fingerprint(self, digests: np.ndarray) -> bytes:
        """A hash of everything that this split holds, wherever it lies."""
        total = hashlib.blake2b("\0".join(self.names).encode(errors="surrogateescape"))
        boxes = b"" if self.boxes is None else self.boxes.tobytes()
        for part in (digests.tobytes(), self.labels.tobytes(), self.roles.tobytes(), boxes):
            total.update(hashlib.blake2b(part).digest())
        if self.groups is not None:
            total.update(hashlib.blake2b(self.groups.tobytes()).digest())
        return total.digest()


def _readable(
    place: Path, rows: list[Row], files: list[str], index: Index, notes: list[str]
) -> tuple[list[Row], np.ndarray]:
    """The rows whose images can be read, with the digests of their files; notes about the others."""
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


def _copies(rows: list[Row], digests: np.ndarray, members: dict[SplitName, list[int]]) -> list[str]:
    """Notes about images with the same content: they are found without any recognition. An image that has a
    row for each of its splits is meant to be there, and does not find itself."""
    once = {(rows[i].path, rows[i].box): (name, i) for name, positions in members.items() for i in positions}
    return copy_notes(
        Copy(name, rows[i].label, (digests[i].tobytes(), rows[i].box), rows[i].path)
        for name, i in once.values()
    )


def _shared(splits: dict[SplitName, ImageSplit]) -> list[str]:
    """Notes about classes that two splits have."""
    notes = []
    for first, second in combinations(SPLITS, 2):
        names = sorted(set(splits[first].names).intersection(splits[second].names))
        if names:
            count = f"{len(names)} of {splits[second].num_classes}"
            notes.append(
                f"classes of the {second} split that the {first} split has, too: {count} ({examples(names)})"
            )
    return notes


def _groups(rows: list[Row]) -> np.ndarray | None:
    """Groups of the rows (see `GroupedSplit`); an image that is in several splits is a group, too."""
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
    everything: list[Row],
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
    # An image alone in its class asks for nothing that could be found.
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
    split, where a protocol may find them."""
    split = splits[name]
    others = {each for other in SPLITS if other != name for each in splits[other].names}
    if len(others.intersection(split.names)) >= MIN_CLASSES:
        return
    asks, found = split.roles & QUERY > 0, split.roles & GALLERY > 0
    queries, gallery, both = (
        np.bincount(split.labels[which], minlength=split.num_classes) for which in (asks, found, asks & found)
    )
    alone = (queries == 1) & (gallery == 1) & (both == 1)
    scorable = int(((queries > 0) & (gallery > 0) & ~alone).sum())
    if scorable < MIN_CLASSES:
        raise DataError(
            f"{place}: classes in the {name} split with a query and another image to find: {scorable}; "
            f"at least {MIN_CLASSES} are needed"
        )

"""The user's own images: a folder with a sub-folder for each class, or a manifest."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from mlbench.contracts import GALLERY, QUERY, SPLITS, SplitName
from mlbench.errors import DataError
from mlbench.images.decode import read_image
from mlbench.names import find_path, one_form
from mlbench_datasets.copies import Copy, copy_notes
from mlbench_datasets.index import Index, index_images
from mlbench_datasets.layout import read_folder
from mlbench_datasets.manifest import MANIFEST_SUFFIXES, Row, read_manifest
from mlbench_datasets.notes import examples, left_out, remarked
from mlbench_datasets.partition import MIN_CLASSES, check_fractions, hold_out, partition

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
    white: the value that is white in images with more than 8 bits in a channel, such as 4095 for 12 bits. By
        default the file says it, as formats and some of their fields do; else it is 255, 4095 or 65535, the
        first that no pixel of the image is above, and a note says so: with one white for all of your images
        they keep their relative brightness. Integers above 65535 and floats need it.
    calibration, test: shares of the classes that are kept from training to fit thresholds on and to be
        scored on, where the user has not made the splits. Without a calibration split only, `calibration`
        is the share of the training classes that becomes one.
    seed: of the division into splits.

    A manifest is a table with one row for each image. Its first line names the columns, commas separate them:

        path,label,split
        shelf/0001.jpg,oat milk,train
        shelf/0002.jpg,apple juice,test

    path: of the image file, absolute or from the manifest's folder on. label: its class. The others may be
    left out. split: train, calibration (val) or test, for all rows or for none. is_query, is_gallery: false
    for a test image that does not ask, or is not to be found. box: "x1,y1,x2,y2", the part of the upright
    image that is meant, in pixels.

    Raises DataError for what cannot be used: a missing folder, an empty class, too few classes; OptionError
    for a level without class folders.
    """
    check_fractions(calibration, test)
    place = find_path(data_root / Path(path).expanduser())
    if place.suffix.lower() in MANIFEST_SUFFIXES and not place.is_dir():
        manifest, root = read_manifest(place), place.parent
    elif place.is_file():
        suffixes = " or ".join(MANIFEST_SUFFIXES)
        raise DataError(f"{place}: neither a folder nor a manifest, which ends in {suffixes}")
    else:
        manifest, root = read_folder(place, level), place
    # In one form, so that the order, and the version with it, is the same on every file system.
    manifest.rows.sort(key=lambda row: (one_form(row.path), row.box or ()))
    files = list(dict.fromkeys(row.path for row in manifest.rows))  # boxes may share one
    index = index_images(root, files, source=place, white=white)
    notes = list(manifest.notes)
    rows, digests = _readable(place, manifest.rows, files, index, notes)
    notes += remarked(files, index.remarks)
    members = _assign(place, rows, calibration=calibration, test=test, seed=seed, notes=notes)
    splits = {
        name: _split(root, [rows[i] for i in members[name]], image_size, white, train=name == "train")
        for name in SPLITS
    }
    notes += [*_copies(rows, digests, members), *_shared(splits)]
    for name in ("calibration", "test"):
        _check_scorable(place, name, splits[name])
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
    boxes: (N, 4) float32, all NaN for a whole image.
    """

    root: str
    paths: np.ndarray
    labels: np.ndarray
    roles: np.ndarray
    boxes: np.ndarray | None
    names: list[str]
    image_size: int
    white: float | None = None

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
    """Notes about images with the same content: they are found without any recognition."""
    return copy_notes(
        Copy(name, rows[i].label, (digests[i].tobytes(), rows[i].box), rows[i].path)
        for name, positions in members.items()
        for i in positions
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


def _assign(
    place: Path, rows: list[Row], *, calibration: float, test: float, seed: int, notes: list[str]
) -> dict[SplitName, list[int]]:
    """Positions of the rows of each split, as the user says or by a division of the classes."""
    if rows[0].split is None:
        chosen = _divide(place, rows, calibration=calibration, test=test, seed=seed, notes=notes)
        return {name: [i for i, row in enumerate(rows) if chosen[row.label] == name] for name in SPLITS}
    members: dict[SplitName, list[int]] = {name: [] for name in SPLITS}
    for position, row in enumerate(rows):
        assert row.split is not None
        members[row.split].append(position)
    for name in ("train", "test"):
        classes = {rows[i].label for i in members[name]}
        if len(classes) < MIN_CLASSES:
            raise DataError(
                f"{place}: classes in the {name} split: {len(classes)}; at least {MIN_CLASSES} are needed"
            )
    if not members["calibration"]:
        sizes = Counter(rows[i].label for i in members["train"])
        full = [name for name, size in sizes.items() if size > 1]
        if len(full) < 2 * MIN_CLASSES:
            raise DataError(
                f"{place}: no calibration split, and to take it from, training classes with two images or "
                f"more: {len(full)}; at least {2 * MIN_CLASSES} are needed"
            )
        taken = hold_out(full, calibration, seed=seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
        notes.append(f"no calibration split given: {len(taken)} of {len(sizes)} training classes become it")
        members["calibration"] = [i for i in members["train"] if rows[i].label in taken]
        members["train"] = [i for i in members["train"] if rows[i].label not in taken]
    return members


def _divide(
    place: Path, rows: list[Row], *, calibration: float, test: float, seed: int, notes: list[str]
) -> dict[str, SplitName]:
    """Class name to split. Classes with one image are divided apart, in the same shares: in training they
    are classes like others, in the other splits they can only be found by mistake."""
    sizes = Counter(row.label for row in rows)
    full = [name for name, size in sizes.items() if size > 1]
    single = [name for name, size in sizes.items() if size == 1]
    if len(full) < 3 * MIN_CLASSES:
        advice = "; of images that are each a class of its own, the data set document_pool makes photographs"
        raise DataError(
            f"{place}: classes with two readable images or more: {len(full)} of {len(sizes)}; at least "
            f"{3 * MIN_CLASSES} are needed, {MIN_CLASSES} for each of {', '.join(SPLITS)}"
            f"{advice if len(single) > len(sizes) // 2 else ''}"
        )
    chosen: dict[str, SplitName] = {}
    for group, minimum in ((full, MIN_CLASSES), (single, 0)):
        parts = partition(group, calibration=calibration, test=test, seed=seed, minimum=minimum)
        for name, part in zip(SPLITS, parts, strict=True):
            chosen.update(dict.fromkeys(part, name))
    if single:
        notes.append(
            f"{len(single)} of {len(sizes)} classes with one image only: no query can be matched there"
        )
    return chosen


def _split(root: Path, rows: list[Row], image_size: int, white: float | None, *, train: bool) -> ImageSplit:
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
    return ImageSplit(str(root), paths, labels, np.array(roles, np.uint8), boxes, names, image_size, white)


def _check_scorable(place: Path, name: str, split: ImageSplit) -> None:
    """Raise DataError unless two classes have a query and another image in the gallery."""
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

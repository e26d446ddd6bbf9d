"""Published data sets of image files with a list."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlbench.plugin import (
    GALLERY,
    QUERY,
    DataCheck,
    DataError,
    DataProgress,
    DatasetContext,
    PartCount,
    SplitName,
)
from mlbench_datasets.collections.published import Published, PublishedDataset
from mlbench_datasets.duplicates import HashedImage, duplicate_notes
from mlbench_datasets.image_index import index_images
from mlbench_datasets.image_split import ImageSplit
from mlbench_datasets.notes import examples, remarked
from mlbench_datasets.partition import MIN_CLASSES, hold_out
from mlbench_datasets.split_set import SplitSet

__all__ = ["Item", "ListedDataset", "differences", "read_lines"]

#: The parts of the test split, and the roles of their images.
_TESTED = {"test": QUERY | GALLERY, "query": QUERY, "gallery": GALLERY}

# Missing or damaged files that a check names.
_NAMED = 20


class Item(NamedTuple):
    """An image of a list: its path relative to the data set's folder, its class, and its part: train, test,
    query or gallery."""

    path: str
    label: str
    part: str


class ListedDataset(PublishedDataset):
    """A data set of image files with a list: the published train and test splits, with a share of the
    training classes in calibration.

    Raises DataError where files are missing or cannot be read: results on a part of a published data set
    cannot be compared with anyone's."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path) -> list[Item]:
        """The images of the list in `folder`, classes in their published order. Raises DataError."""

    @classmethod
    def examine(cls, folder: Path, progress: DataProgress) -> DataCheck:
        items = cls.read(folder)
        progress(f"reading {len(items):,} images (slow the first time)", 0, len(items))
        index = index_images(folder, [item.path for item in items], source=folder)
        readable = [item for position, item in enumerate(items) if position not in index.unreadable]
        parts = _parts(readable, cls.published)
        problems = [_unreadable(folder, items, index.unreadable, _NAMED)] if index.unreadable else []
        return DataCheck(parts, [*problems, *differences(parts)])

    def build(self, context: DatasetContext) -> SplitSet[ImageSplit]:
        source = self.files(context.root, self.path)
        if source.layout() is None:
            raise source.absent()
        items = self.read(source.folder)
        index = index_images(source.folder, [item.path for item in items], source=source.folder)
        if index.unreadable:
            command = source.command("check")
            advice = f"; see: {command}" if command else ""
            raise DataError(_unreadable(source.folder, items, index.unreadable) + advice)
        trained = Counter(item.label for item in items if item.part == "train")
        full = [name for name, size in trained.items() if size > 1]
        if len(full) < 2 * MIN_CLASSES:
            raise DataError(
                f"{source.folder}: training classes with two images or more: {len(full)}; "
                f"at least {2 * MIN_CLASSES} are needed"
            )
        held = hold_out(full, self.calibration, seed=self.seed, minimum=MIN_CLASSES, leave=MIN_CLASSES)
        positions: dict[SplitName, list[int]] = {"train": [], "calibration": [], "test": []}
        for position, item in enumerate(items):
            trained_part: SplitName = "calibration" if item.label in held else "train"
            name = "test" if item.part in _TESTED else trained_part
            positions[name].append(position)
        splits = {
            name: _split(source.folder, [items[i] for i in chosen], context.image_size, train=name == "train")
            for name, chosen in positions.items()
        }
        version = hashlib.blake2b(digest_size=8)
        for name, chosen in positions.items():
            version.update(splits[name].fingerprint(index.digests[chosen]))
        copies = duplicate_notes(
            HashedImage(name, items[i].label, index.digests[i].tobytes(), items[i].path)
            for name, chosen in positions.items()
            for i in chosen
        )
        notes = [
            f"{len(held)} of the {len(trained)} published training classes become the calibration split",
            *differences(_parts(items, self.published)),
            *remarked([item.path for item in items], index.remarks),
            *copies,
        ]
        return SplitSet(version.hexdigest(), trained.keys().isdisjoint(splits["test"].names), notes, splits)


def differences(parts: Sequence[PartCount]) -> list[str]:
    """A line for each part whose counts differ from the published ones."""
    return [
        f"{part.part}: {part.classes:,} classes, {part.images:,} images; published: "
        f"{part.published_classes:,} classes, {part.published_images:,} images"
        for part in parts
        if (part.classes, part.images) != (part.published_classes, part.published_images)
    ]


def read_lines(file: Path) -> list[str]:
    """Lines of a text file. Raises DataError."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not a text file in UTF-8; get it again") from None


def _split(folder: Path, items: Sequence[Item], image_size: int, *, train: bool) -> ImageSplit:
    names = list(dict.fromkeys(item.label for item in items))  # in published order
    positions = {name: label for label, name in enumerate(names)}
    sizes = Counter(item.label for item in items)
    roles = [
        # The only image of a class is no query: the gallery has no match.
        GALLERY if sizes[item.label] == 1 and not train else _TESTED.get(item.part, QUERY | GALLERY)
        for item in items
    ]
    return ImageSplit(
        root=str(folder),
        paths=np.array([os.fsencode(item.path) for item in items]),
        labels=np.array([positions[item.label] for item in items], np.int32),
        roles=np.array(roles, np.uint8),
        boxes=None,
        names=names,
        image_size=image_size,
    )


def _parts(items: Sequence[Item], published: Published) -> list[PartCount]:
    return [
        PartCount(
            part,
            len({item.label for item in items if item.part == part}),
            sum(item.part == part for item in items),
            classes,
            images,
        )
        for part, (classes, images) in published.items()
    ]


def _unreadable(folder: Path, items: Sequence[Item], reasons: Mapping[int, str], show: int = 3) -> str:
    named = examples([f"{items[position].path} ({reason})" for position, reason in reasons.items()], show)
    return f"{folder}: {len(reasons):,} of {len(items):,} images are missing or cannot be read: {named}"

"""Splits of encoded images that are read by position from container files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlbench.plugin import GALLERY, QUERY, DataError, SplitName, UnreadableImageError, decode

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ContainerSplit",
    "FileSource",
    "ImageSource",
    "Pool",
    "part",
    "part_of",
    "read_bytes",
    "unlabelled",
    "version_of",
]


class ImageSource(Protocol):
    """Encoded images by position. Picklable."""

    def read(self, item: int) -> bytes:
        """The encoded image. Raises DataError."""
        ...

    def where(self, item: int) -> str:
        """The place of the image, for messages."""
        ...


@dataclass(frozen=True)
class Pool:
    """Images before they are divided into splits. classes: (N,) int64 positions in `names`; each name
    occurs."""

    source: ImageSource
    classes: np.ndarray
    names: Sequence[str]


@dataclass(frozen=True)
class ContainerSplit:
    """One split. items: (N,) int64 positions in the source. labels: (N,) int32. roles: (N,) uint8."""

    source: ImageSource
    items: np.ndarray
    labels: np.ndarray
    roles: np.ndarray
    names: Sequence[str]
    image_size: int

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return len(self.items)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def image(self, index: int) -> Image.Image:
        """Image `index`. Raises DataError, with the image's place, when it cannot be read."""
        item = int(self.items[index])
        try:
            # Twice the size, so that the resizing and cropping that follow average pixels.
            return decode(self.source.read(item), short_side=2 * self.image_size).image
        except UnreadableImageError as error:
            raise DataError(f"{self.source.where(item)}: {error}") from None

    def class_name(self, label: int) -> str:
        return self.names[label]

    def role(self, index: int) -> int:
        return int(self.roles[index])

    def where(self, index: int) -> str:
        return self.source.where(int(self.items[index]))


@dataclass(frozen=True)
class FileSource:
    """Files below a folder. paths: (N,) bytes, relative to root or absolute."""

    root: str
    paths: np.ndarray

    def read(self, item: int) -> bytes:
        file = Path(self.where(item))
        try:
            return file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: {error.strerror or error}") from None

    def where(self, item: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.paths[item]))


def part(pool: Pool, chosen: Iterable[str], image_size: int, *, train: bool) -> ContainerSplit:
    """The split of the images whose class is among `chosen`, in the pool's order."""
    wanted = set(chosen)
    kept = np.fromiter((name in wanted for name in pool.names), bool, len(pool.names))
    return part_of(pool, np.flatnonzero(kept[pool.classes]), image_size, train=train)


def part_of(pool: Pool, items: np.ndarray, image_size: int, *, train: bool) -> ContainerSplit:
    """The split of the images at the positions `items`, ascending."""
    kept = np.bincount(pool.classes[items], minlength=len(pool.names)) > 0
    labels = (np.cumsum(kept, dtype=np.int32) - 1)[pool.classes[items]].astype(np.int32)
    names = [name for name, here in zip(pool.names, kept.tolist(), strict=True) if here]
    # The only image of a class is no query: the gallery has no match.
    is_query = (np.bincount(labels, minlength=1)[labels] > 1) | train
    roles = np.where(is_query, QUERY | GALLERY, GALLERY).astype(np.uint8)
    return ContainerSplit(pool.source, items, labels, roles, names, image_size)


def read_bytes(file: str, start: int, size: int) -> bytes:
    """`size` bytes of a file from `start`. Raises DataError when the file is shorter.

    The file is opened for each call: nothing is shared between processes, and nothing stays open.
    """
    try:
        with open(file, "rb", buffering=0) as stream:
            stream.seek(start)
            data = stream.read(size)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    if len(data) != size:
        raise DataError(
            f"{file}: it ends within the image at byte {start:,}; the file is truncated or has changed"
        )
    return data


def version_of(splits: dict[SplitName, ContainerSplit], *contents: bytes) -> str:
    """A hash of the classes and splits of the images, and of `contents`, which stand for their pixels."""
    total = hashlib.blake2b(digest_size=8)
    for split in splits.values():
        names = "\0".join(split.names).encode(errors="surrogateescape")
        for each in (split.items.tobytes(), split.labels.tobytes(), names):
            total.update(hashlib.blake2b(each).digest())
    for content in contents:
        total.update(hashlib.blake2b(content).digest())
    return total.hexdigest()


def unlabelled(source: ImageSource, count: int, image_size: int, *, name: str) -> ContainerSplit:
    """A split of `count` images without labels, for pairs: each image is a class, neither query nor in the
    gallery."""
    each = np.arange(count)
    names = [f"{name} image {number}" for number in range(count)]
    return ContainerSplit(source, each, each.astype(np.int32), np.zeros(count, np.uint8), names, image_size)

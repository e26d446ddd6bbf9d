"""One split of image files, in arrays."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlbench.plugin import read_image

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageSplit"]


@dataclass(frozen=True)
class ImageSplit:
    """One split, in arrays: a million images take little memory and are quickly sent to other processes.

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
        """Image `index`. Raises DataError when the file can no longer be read."""
        box = None if self.boxes is None or np.isnan(self.boxes[index, 0]) else self.boxes[index].tolist()
        file = Path(self.root, os.fsdecode(self.paths[index]))
        # Twice the size, so that the resizing and cropping that follow average pixels.
        return read_image(file, short_side=2 * self.image_size, box=box, white=self.white)

    def class_name(self, label: int) -> str:
        return self.names[label]

    def role(self, index: int) -> int:
        return int(self.roles[index])

    def where(self, index: int) -> str:
        """Its file, and its box in it, if it has one."""
        path = os.fsdecode(self.paths[index])
        if self.boxes is None or np.isnan(self.boxes[index, 0]):
            return path
        return f"{path} [{', '.join(f'{each:g}' for each in self.boxes[index].tolist())}]"

    def fingerprint(self, digests: np.ndarray) -> bytes:
        """A hash of the split's content, independent of its folder. digests: of its files."""
        total = hashlib.blake2b("\0".join(self.names).encode(errors="surrogateescape"))
        boxes = b"" if self.boxes is None else self.boxes.tobytes()
        for part in (digests.tobytes(), self.labels.tobytes(), self.roles.tobytes(), boxes):
            total.update(hashlib.blake2b(part).digest())
        if self.groups is not None:
            total.update(hashlib.blake2b(self.groups.tobytes()).digest())
        return total.digest()

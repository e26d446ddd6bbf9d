"""Reading every image once, by worker processes: a hash of its pixels, its size, and reasons of failure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from mlbench.environment import usable_cores
from mlbench.errors import MlbenchError, first_line
from mlbench.images.preprocess import to_square
from mlbench.inspection.subject import Part

__all__ = ["Scan", "Squares", "scan"]

_BATCH = 64
_DIGEST_SIZE = 16


@dataclass(frozen=True)
class Scan:
    """Results for each image, part after part.

    digests: (N,) 16 bytes, a hash of the decoded pixels and their size. sizes: (N, 2) int32, width, height.
    unreadable: position to reason. remarks: position to remarks on how the image was read.
    """

    digests: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str]
    remarks: dict[int, tuple[str, ...]]


class Squares(NamedTuple):
    """Readable images made square. positions: of the images. pixels: (N, S, S, 3) uint8."""

    positions: np.ndarray
    pixels: np.ndarray


class _Row(NamedTuple):
    position: int
    digest: bytes
    size: tuple[int, int]
    reason: str
    remarks: tuple[str, ...]
    square: np.ndarray | None


def scan(
    parts: Sequence[Part],
    side: int,
    take: Callable[[Squares], None] | None,
    progress: Callable[[int, int], None],
    workers: int | None = None,
) -> Scan:
    """Read all images; an image that cannot be read is a result, not an error.

    side: of the square images that `take` gets, in order; None for none. progress: called with the number of
    images that are done, and of all. workers: processes; None for one per core. Memory does not grow with the
    number of images, but for about 40 bytes of results each.
    """
    total = sum(map(len, parts))
    found = Scan(np.zeros(total, f"V{_DIGEST_SIZE}"), np.zeros((total, 2), np.int32), {}, {})
    done = 0
    for rows in _read(parts, side if take is not None else 0, usable_cores() if workers is None else workers):
        for row in rows:
            if row.reason:
                found.unreadable[row.position] = row.reason
                continue
            found.digests[row.position] = row.digest
            found.sizes[row.position] = row.size
            if row.remarks:
                found.remarks[row.position] = row.remarks
        squares = [(row.position, row.square) for row in rows if row.square is not None]
        if take is not None and squares:
            take(
                Squares(np.array([each for each, _ in squares]), np.stack([square for _, square in squares]))
            )
        done += len(rows)
        progress(done, total)
    return found


def _read(parts: Sequence[Part], side: int, workers: int) -> Iterator[list[_Row]]:
    images: Any = _Images(parts, side)
    # Starting a worker process takes longer than reading a few images.
    workers = workers if len(images) >= _BATCH * workers else 0
    yield from DataLoader(
        images, batch_size=_BATCH, num_workers=workers, collate_fn=list, generator=torch.Generator()
    )


class _Images:
    """Reads image `position` of all parts."""

    def __init__(self, parts: Sequence[Part], side: int) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self._side = side

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, position: int) -> _Row:
        number = int(np.searchsorted(self._starts, position, "right")) - 1
        try:
            image, size, remarks = self._parts[number].source.read(position - int(self._starts[number]))
            square = np.asarray(to_square(image, self._side, "squash")) if self._side else None
            digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=_DIGEST_SIZE)
            digest.update(image.tobytes())
            return _Row(position, digest.digest(), size, "", remarks, square)
        except MlbenchError as error:
            reason = str(error)
        # The code of a data set may raise anything.
        except Exception as error:
            reason = first_line(error)
        return _Row(position, b"", (0, 0), " ".join(reason.split()) or "cannot be read", (), None)

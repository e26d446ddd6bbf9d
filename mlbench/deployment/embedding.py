"""Embedding of listed image files by a model: in batches, read by threads while the model computes."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mlbench.deployment.card import Card
from mlbench.environment import usable_cores
from mlbench.errors import DataError, first_few
from mlbench.images.formats import UnreadableImageError
from mlbench.images.image_list import ImageList, ListedImage
from mlbench.images.prepare import prepare

__all__ = ["BATCH", "EmbeddedImages", "ImageModel", "embed_images"]

#: Images that a model embeds at a time.
BATCH = 64

_SHOWN = 5

Progress = Callable[[str, int, int], None]


class ImageModel(Protocol):
    """A model that embeds images: an `OnnxSession` or a `TrainedModel`."""

    @property
    def card(self) -> Card:
        """What the model is, and how its images are prepared."""
        ...

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length, of images (N, 3, S, S) uint8."""
        ...


@dataclass(frozen=True)
class EmbeddedImages:
    """Images with their embeddings.

    vectors: (N, D) float32 of unit length. digests: hash of the file of each image, in hex. unreadable:
    images that are left out, with the reason. card: of the model. root: folder that the paths start at.
    """

    vectors: np.ndarray
    images: tuple[ListedImage, ...]
    digests: tuple[str, ...]
    card: Card
    root: Path
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """A note on the images that are left out."""
        if not self.unreadable:
            return []
        total = len(self.images) + len(self.unreadable)
        named = [f"{name} ({reason})" for name, reason in self.unreadable.items()]
        return [
            f"{len(self.unreadable):,} of {total:,} images cannot be read and are left out: "
            f"{first_few(named, _SHOWN)}"
        ]


class _Read(NamedTuple):
    """Pixels (3, S, S) and the digest of a file, or the reason why it cannot be read."""

    pixels: np.ndarray | None
    digest: str = ""
    reason: str = ""


def embed_images(
    model: ImageModel, listed: ImageList, progress: Progress, batch_size: int = BATCH
) -> EmbeddedImages:
    """Embed images; those that cannot be read are left out. The pixels of two batches are in memory at a
    time.

    A model with 8-bit weights gets one image at a time, since it quantises those of a batch together.
    progress: called with (what, done, total). Raises DataError where no image can be read.
    """
    size = 1 if model.card.precision == "int8" else batch_size
    vectors: list[np.ndarray] = []
    images: list[ListedImage] = []
    digests: list[str] = []
    unreadable: dict[str, str] = {}
    done, total = 0, len(listed.images)
    progress("embedding", 0, total)
    for batch in _batches(listed, model.card, batch_size):
        readable = [(image, each) for image, each in batch if each.pixels is not None]
        unreadable |= {str(image): each.reason for image, each in batch if each.pixels is None}
        for start in range(0, len(readable), size):
            part = readable[start : start + size]
            vectors.append(
                model.embed(np.stack([each.pixels for _, each in part if each.pixels is not None]))
            )
        images += [image for image, _ in readable]
        digests += [each.digest for _, each in readable]
        done += len(batch)
        progress("embedding", done, total)
    found = EmbeddedImages(
        np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32),
        tuple(images),
        tuple(digests),
        model.card,
        listed.root,
        unreadable,
    )
    if not images:
        raise DataError(f"{listed.root}: {found.notes()[0]}")
    return found


def _batches(listed: ImageList, card: Card, size: int) -> Iterator[list[tuple[ListedImage, _Read]]]:
    """The images with what was read of them; a batch is read while the one before it is in use."""
    # Pillow's warnings of unusual files do not name the file. Its decoders release the lock of Python.
    with warnings.catch_warnings(), ThreadPoolExecutor(usable_cores()) as threads:
        warnings.simplefilter("ignore")
        waiting: list[tuple[ListedImage, Future[_Read]]] = []
        try:
            for start in range(0, len(listed.images) + size, size):
                coming = [
                    (image, threads.submit(_read, listed.root, image, card))
                    for image in listed.images[start : start + size]
                ]
                ready, waiting = waiting, coming
                if ready:
                    yield [(image, future.result()) for image, future in ready]
        finally:
            threads.shutdown(cancel_futures=True)


def _is_text(path: str) -> bool:
    """Whether a path is UTF-8, so that a file can hold it."""
    return not any("\ud800" <= sign <= "\udfff" for sign in path)


def _read(root: Path, image: ListedImage, card: Card) -> _Read:
    if not _is_text(image.path):
        return _Read(None, reason="its name is not UTF-8; rename it")
    try:
        data = (root / image.path).read_bytes()
    except OSError as error:
        return _Read(None, reason=error.strerror or str(error))
    except ValueError as error:  # such as a null character in the path
        return _Read(None, reason=str(error))
    try:
        pixels = prepare(data, card.size, card.resize, card.crop_ratio, card.white, image.box)
    except UnreadableImageError as error:
        return _Read(None, reason=str(error))
    return _Read(pixels, hashlib.blake2b(data, digest_size=16).hexdigest())

"""A folder of document images, photographed by a simulated camera; each image is an identity, and becomes up
to 24 classes (see `mlbench_datasets.expansions`)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from mlbench.plugin import (
    GALLERY,
    QUERY,
    SPLITS,
    DataError,
    DatasetContext,
    SplitName,
    find_images,
    find_path,
    numpy_generator,
    read_image,
)
from mlbench_datasets.camera import photograph
from mlbench_datasets.division_options import DivisionOptions, Share
from mlbench_datasets.expansions import Expand, expansion, expansion_name, repeated_expansions
from mlbench_datasets.image_index import index_images
from mlbench_datasets.notes import examples, left_out, remarked
from mlbench_datasets.partition import MIN_CLASSES
from mlbench_datasets.split_set import SplitSet

__all__ = ["DocumentPool", "PhotographSplit"]

_CACHED_SOURCES = 256  # 50 MB in each process at 128 pixels


class DocumentPool(DivisionOptions):
    """Photographs of flat document images; each image is an identity.

    The identities are divided, so no two expansions of one image are in different splits. Where expansions of
    an image look the same (a symmetric or blank image) only the first is kept, and of identical files only
    one: two classes with one appearance are label noise, and one such image in thousands need not stop a run.

    Raises DataError for a missing folder and for too few images.
    """

    path: str = "unique_pool"
    """A folder of images, at any depth."""
    calibration: Share = 0.2
    """Share of the images in calibration, where thresholds are fitted."""
    test: Share = 0.3
    """Share of the images in test."""
    seed: int = 0
    """Seed of the division and of the camera."""
    expand: Expand = 24
    """Classes made of each training image: 1, 8 (turned and flipped) or 24 (halves as well)."""
    expand_test: Expand = 1
    """Classes made of each image of calibration and test."""
    views: Annotated[int, Field(ge=1)] = 4
    """Photographs of each training class."""
    eval_views: Annotated[int, Field(ge=2)] = 5
    """Photographs of each class in calibration and test."""
    strength: Annotated[float, Field(ge=0, le=4)] = 1.0
    """Strength of the camera's effects: 0 none, 1 an ordinary snapshot, above 1 a careless one."""

    def build(self, context: DatasetContext) -> SplitSet[PhotographSplit]:
        folder = find_path(context.root / Path(self.path).expanduser())
        found = find_images(folder)
        paths = found.paths
        index = index_images(folder, paths, probe=repeated_expansions)
        readable = [position for position in range(len(paths)) if position not in index.unreadable]
        sources = {index.digests[position].tobytes().hex(): position for position in reversed(readable)}
        notes = [*found.notes(), *remarked(paths, index.remarks)]
        if index.unreadable:
            notes.append(left_out(paths, index.unreadable))
        if len(sources) < 3 * MIN_CLASSES:
            raise DataError(
                f"{folder}: different images: {len(sources)}; at least {3 * MIN_CLASSES} are needed, "
                f"{MIN_CLASSES} for each of {', '.join(SPLITS)}{''.join(f' ({note})' for note in notes)}"
            )
        if len(sources) < len(readable):
            notes.append(f"{len(readable) - len(sources)} of {len(paths)} images left out as duplicates")
        splits: dict[SplitName, PhotographSplit] = {}
        symmetric: list[str] = []
        parts = self.partition(list(sources))
        for name, part in zip(SPLITS, parts, strict=True):
            count, shown = (
                (self.expand, self.views) if name == "train" else (self.expand_test, self.eval_views)
            )
            documents = sorted(part)  # by content, so that renaming a file changes nothing
            positions = [sources[digest] for digest in documents]
            repeated = index.probes[positions][:, None] >> np.arange(count) & 1
            symmetric += [paths[positions[row]] for row in np.flatnonzero(repeated.any(axis=1))]
            owners, numbers = np.nonzero(repeated == 0)
            splits[name] = PhotographSplit(
                folder=str(folder),
                paths=np.array([os.fsencode(paths[position]) for position in positions]),
                digests=np.array(documents),
                documents=owners.astype(np.int32),
                expansions=numbers.astype(np.int8),
                views=shown,
                image_size=context.image_size,
                strength=self.strength,
                seed=self.seed,
            )
        if symmetric:
            notes.append(
                "images that look the same in several expansions, of which the first is kept: "
                + examples(sorted(symmetric))
            )
        version = hashlib.blake2b("".join(sorted(sources)).encode(), digest_size=8).hexdigest()
        return SplitSet(version, True, tuple(notes), splits)


@dataclass(frozen=True)
class PhotographSplit:
    """`views` photographs of each class, class by class. A class is one expansion of one document.

    paths: (D,) bytes, of each document, relative to folder. digests: (D,) str, of its content.
    documents, expansions: (C,) int, the document and the expansion of each class.
    """

    folder: str
    paths: np.ndarray
    digests: np.ndarray
    documents: np.ndarray
    expansions: np.ndarray
    views: int
    image_size: int
    strength: float
    seed: int

    @property
    def num_classes(self) -> int:
        return len(self.documents)

    def __len__(self) -> int:
        return self.num_classes * self.views

    def label(self, index: int) -> int:
        return range(len(self))[index] // self.views

    def image(self, index: int) -> Image.Image:
        """A photograph: RGB, image_size x image_size. Raises DataError when its file is gone."""
        label = self.label(index)
        document, number = self.documents[label], int(self.expansions[label])
        file = os.path.join(self.folder, os.fsdecode(self.paths[document]))
        digest = str(self.digests[document])
        flat = expansion(_square(file, digest, 2 * self.image_size), number)
        # The seed depends on the content: adding or removing a document changes no photograph of another.
        path = ("document_pool", digest, number, index % self.views)
        return photograph(
            flat, numpy_generator(self.seed, *path), size=self.image_size, strength=self.strength
        )

    def class_name(self, label: int) -> str:
        path = os.fsdecode(self.paths[self.documents[label]])
        return f"{path}@{expansion_name(self.expansions[label])}"

    def role(self, index: int) -> int:
        return QUERY | GALLERY

    def where(self, index: int) -> str:
        """The file of its document."""
        return os.fsdecode(self.paths[self.documents[self.label(index)]])


@lru_cache(maxsize=_CACHED_SOURCES)
def _square(file: str, digest: str, side: int) -> Image.Image:
    """The image of a file, resized to a square. digest: of its content, so that a changed file is read again.
    Callers must not change the image."""
    # Bilinear, as sharper details would alias in photographs.
    return read_image(Path(file), short_side=side).resize(
        (side, side), Image.Resampling.BILINEAR, reducing_gap=2.0
    )

"""Text images: photographs of rendered documents, any number of classes, nothing to download.

A class is one document: a bank card, a wine label, a street sign with its own words, emblem or picture.
Its images are photographs by `mlbench_datasets.camera`. Documents come in families of look-alikes, so colours
and layout alone do not tell the classes apart.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from PIL import Image, __version__, features
from pydantic import Field

from mlbench.plugin import (
    GALLERY,
    QUERY,
    DataError,
    DatasetContext,
    DatasetOptions,
    SplitName,
    numpy_generator,
)
from mlbench_datasets.expansions import Expand, expansion, expansion_name
from mlbench_datasets.fonts import versions
from mlbench_datasets.split_set import SplitSet

__all__ = ["REVISION", "TextImage", "TextImageSplit"]

#: Increased whenever the same options give other images.
REVISION = 2

#: Images of a split; more would take hours to count.
_MOST = 100_000_000

_Count = Annotated[int, Field(ge=1)]

# Documents are drawn at twice the size of the photograph.
_OVERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class TextImageSplit:
    """One split: image `index` is view `index mod views` of class `index div views`.

    Every class and every view has its own seed and is drawn on demand; the number of classes changes none of
    them. documents: the split whose documents it shows, its own unless the set is closed. expand: classes
    made of each document, consecutive, the unchanged document first.
    """

    name: SplitName
    documents: SplitName
    num_classes: int
    views: int
    image_size: int
    family: int
    strength: float
    seed: int
    expand: Expand = 1

    def __len__(self) -> int:
        return self.num_classes * self.views

    def label(self, index: int) -> int:
        return self._locate(index)[0]

    def image(self, index: int) -> Image.Image:
        """Image `index`: RGB, image_size x image_size pixels."""
        # Imported late: validating a suite draws no image.
        from mlbench_datasets.camera import photograph

        label, view = self._locate(index)
        document, number = divmod(label, self.expand)
        # Expanding changes no photograph of an unchanged document.
        path = ("textimage", self.name, "view", document, view, *([number] if number else []))
        sheet = _sheet(self.seed, self.documents, document, self.family, self.image_size)
        return photograph(
            expansion(sheet, number),
            numpy_generator(self.seed, *path),
            size=self.image_size,
            strength=self.strength,
        )

    def document(self, label: int) -> Image.Image:
        """The flat document of a class: RGB, in its own aspect ratio."""
        document, number = divmod(label, self.expand)
        flat = _document(self.seed, self.documents, document, self.family, self.image_size)
        return expansion(flat, number)

    def class_name(self, label: int) -> str:
        document, number = divmod(label, self.expand)
        name = f"{self.documents}/{document:06d}"
        return name if self.expand == 1 else f"{name}@{expansion_name(number)}"

    def role(self, index: int) -> int:
        return QUERY | GALLERY

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return divmod(index, self.views)


def _document(seed: int, split: str, label: int, family: int, image_size: int) -> Image.Image:
    from mlbench_datasets.documents.catalogue import draw_document

    return draw_document(seed, split, label, family_size=family, pixels=_OVERSAMPLING * image_size)


# Consecutive images share a document; drawing takes about as long as photographing it.
@lru_cache(maxsize=64)
def _sheet(seed: int, split: str, label: int, family: int, image_size: int) -> Image.Image:
    """A document in the resolution that the camera needs."""
    from mlbench_datasets.camera import SAMPLES

    document = _document(seed, split, label, family, image_size)
    side = math.ceil(SAMPLES * image_size)
    fitted = min(document.width, side), min(document.height, side)
    return document.resize(fitted, Image.Resampling.BILINEAR)


class TextImage(DatasetOptions):
    """Photographs of rendered documents, without any files. A class is one document: a bank card, a wine
    label or a street sign with its own words, emblem or picture.

    Raises DataError if a font package is not installed, and for a split of more than 100 million images.
    """

    classes: _Count = 300
    """Documents in the train split."""
    calibration_classes: _Count = 112
    """Documents in the calibration split; not used where `closed`."""
    test_classes: _Count = 112
    """Documents in the test split; not used where `closed`."""
    expand: Expand = 1
    """Classes made of each training document: 1, 8 (turned and flipped) or 24 (halves as well). Calibration
    and test show documents as they are, unless `closed`."""
    views: _Count = 8
    """Photographs of each training class."""
    eval_views: _Count = 5
    """Photographs of each calibration and test document."""
    family: _Count = 4
    """Number of consecutive documents that are look-alikes: they share layout, colours, typefaces and fixed
    parts, so that only words, numbers, emblems and pictures differ. 1 for no look-alikes."""
    closed: bool = False
    """Whether calibration and test show the training documents, in other photographs (closed set, see
    `evaluation.gallery`). Default: no document is in two splits."""
    strength: Annotated[float, Field(ge=0, le=4)] = 0.5
    """Strength of the camera's effects: 0 gives flat scans, 0.5 careful photographs, 1 ordinary snapshots."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the documents and of the photographs."""

    def build(self, context: DatasetContext) -> SplitSet[TextImageSplit]:
        size = context.image_size
        own: dict[SplitName, tuple[int, int]] = {
            "train": (self.classes, self.views),
            "calibration": (self.calibration_classes, self.eval_views),
            "test": (self.test_classes, self.eval_views),
        }
        splits = {}
        for name, (own_classes, views) in own.items():
            documents = "train" if self.closed else name
            expand = self.expand if documents == "train" else 1
            classes = expand * (self.classes if self.closed else own_classes)
            if classes * views > _MOST:
                raise DataError(
                    f"textimage: {name} has {classes * views:,} images; expected at most {_MOST:,}"
                )
            splits[name] = TextImageSplit(
                name, documents, classes, views, size, self.family, self.strength, self.seed, expand
            )
        counts = "+".join(str(split.num_classes) for split in splits.values())
        version = (
            f"textimage {REVISION}: {counts} classes{', closed' if self.closed else ''}"
            f"{f', {self.expand} of each document' if self.expand > 1 else ''}, "
            f"{self.views}+{self.eval_views} views, {size} px, family {self.family}, strength "
            f"{self.strength:g}, seed {self.seed}; {_renderer()}"
        )
        return SplitSet(version, not self.closed, (), splits)


@lru_cache(maxsize=1)
def _renderer() -> str:
    """The software that determines the bits of rendered text."""
    shaping = f"arabic-reshaper {importlib.metadata.version('arabic-reshaper')}, {versions()}"
    return (
        f"Pillow {__version__}, FreeType {features.version('freetype2')}, "
        f"JPEG {features.version('libjpeg_turbo') or features.version('jpg')}, "
        f"fonts {hashlib.blake2b(shaping.encode(), digest_size=4).hexdigest()}"
    )

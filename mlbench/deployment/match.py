"""Matching images with a model file; with an ONNX file without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.deployment.card import Card
from mlbench.deployment.formats import FORMATS
from mlbench.deployment.model_file import Session
from mlbench.deployment.onnx_format import INT8
from mlbench.errors import DataError, StoreError
from mlbench.evaluation.embeddings import COLLAPSED
from mlbench.evaluation.similarity_grid import on_grid
from mlbench.images.decode import UnreadableImageError
from mlbench.images.prepare import prepare

__all__ = [
    "Match",
    "cosine",
    "euclidean_note",
    "find_model",
    "load_image",
    "match",
    "notes_on",
]


@dataclass(frozen=True)
class Match:
    """Comparison of an image with the first one. similarity: the cosine."""

    image: Path
    similarity: float
    same: bool

    @property
    def distance(self) -> float:
        """The cosine distance."""
        return 1.0 - self.similarity


def find_model(path: Path) -> Path:
    """The model file at `path`, or the one in the folder `path`: of the first of `FORMATS` that it has, and
    the float32 one where there are two.

    Raises StoreError for none, or for several.
    """
    if not path.is_dir():
        if not path.exists():
            raise StoreError(f"{path}: no such model; make one with: mlbench export SUITE CASE")
        return path
    found = next(
        (files for suffix in FORMATS.values() if (files := sorted(path.glob(f"*{suffix}")))), list[Path]()
    )
    if len(found) > 1:
        found = [file for file in found if not file.name.endswith(INT8)] or found
    if len(found) != 1:
        names = ", ".join(file.name for file in found)
        raise StoreError(
            f"{path}: holds {len(found)} models ({names}); name one: --model {found[0]}"
            if found
            else f"{path}: holds no model; make one with: mlbench export SUITE CASE"
        )
    return found[0]


def load_image(path: Path, card: Card) -> np.ndarray:
    """An image file as input of the model, (3, S, S) uint8: upright, RGB and square, prepared as in
    training. Raises DataError."""
    try:
        return prepare(path.read_bytes(), card.size, card.resize, card.crop_ratio, card.white)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnreadableImageError as error:
        raise DataError(f"{path}: is no image that can be read ({error})") from None


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of float32 vectors, whose lengths are 1 up to rounding, as a float32 number from -1 to 1."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    found = one @ other / np.sqrt((one @ one) * (other @ other))
    return float(np.clip(np.float32(found), -1, 1))  # rounding can give a cosine outside


def match(session: Session, images: Sequence[Path], distance: float | None = None) -> list[Match]:
    """Compare the first image with each of the others, in their order.

    distance: largest distance of a match; None for the model's own threshold. Raises DataError for a file
    that is no image, StoreError for a model without a threshold.
    """
    card = session.card
    least = card.similarity if distance is None else 1.0 - distance
    if least is None:
        raise StoreError(
            f"{session.file}: has no threshold ({card.note}); say up to which distance two images are the "
            "same: --threshold 0.3"
        )
    # One by one, as there may be more images than fit into memory.
    query, *others = (session.embed(load_image(image, card)[None])[0] for image in images)
    found = []
    for image, other in zip(images[1:], others, strict=True):
        similarity = cosine(query, other)
        found.append(Match(image, similarity, bool(on_grid(similarity) >= on_grid(least))))
    return found


def euclidean_note(distance: float) -> str:
    """A note on a threshold that is hardly a cosine distance; "" for another one."""
    if distance <= 1:
        return ""
    return (
        f"threshold {distance:g} looks like a Euclidean distance; the cosine distance is half of its "
        f"square, {distance**2 / 2:.3g}"
    )


def notes_on(found: Sequence[Match], distance: float | None) -> list[str]:
    """Warnings about the results. distance: as in `match`."""
    notes = []
    if distance is not None and (note := euclidean_note(distance)):
        notes.append(note)
    least = min(each.similarity for each in found)
    if len(found) > 1 and least >= COLLAPSED:
        notes.append(
            f"all {len(found) + 1} images are almost one point to this model (similarities from {least:.6f}):"
            " they are copies of one image, or the model tells hardly anything apart"
        )
    return notes

"""Embeddings: vectors with labels, and who may ask and who may be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlbench.errors import DataError

if TYPE_CHECKING:
    import torch

__all__ = ["COLLAPSED", "Embeddings", "collapse", "comparable", "lengths", "mean_similarity"]

#: Mean similarity of two images from which on embeddings count as collapsed. Those of networks with random
#: weights, which tell little apart, have up to .990 over small pictures and document pages.
COLLAPSED = 0.999

#: Rows that are checked together.
_ROWS = 8192


@dataclass(frozen=True)
class Embeddings:
    """N embedded images.

    vectors: (N, D) floats of any length but zero; an array, or a torch tensor on the device that shall
    compare them. labels: (N,) integers. queries, gallery: (N,) bool, whether an image may ask and be found.
    name: of the split or file, for messages; searched: of that which the gallery is from, "" for the same.
    groups: (N,) integers: two images of one class and one group are no pair, neither a match nor a candidate,
    as images of one person from one camera are none in the Market-1501 protocol; images of two classes are
    compared whatever their groups. An image with a negative number is in no group; None: no image is in one.
    """

    vectors: Any
    labels: np.ndarray
    queries: np.ndarray
    gallery: np.ndarray
    name: str = "embeddings"
    searched: str = ""
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, vectors: Any, labels: Any, name: str = "embeddings") -> Embeddings:
        """Every image asks and is found."""
        everyone = np.ones(len(labels), bool)
        return cls(vectors, np.asarray(labels), everyone, everyone, name)


def comparable(vectors: torch.Tensor) -> Any:
    """The vectors where pairs of them can be compared: as they are on a GPU with CUDA, else as an array on
    the CPU. Evaluation needs float64, which not every other device has."""
    return vectors if vectors.device.type == "cuda" else vectors.cpu().numpy()


def lengths(embeddings: Embeddings) -> np.ndarray:
    """Lengths of the vectors, (N,) float64.

    Raises DataError when shapes do not agree, labels are missing, or an embedding is not finite or zero,
    which has no cosine. Whatever is compared has passed here: compiled code relies on it.
    """
    vectors, name = embeddings.vectors, embeddings.name
    if vectors.ndim != 2:
        raise DataError(
            f"{name}: embeddings have shape {tuple(vectors.shape)}; expected (images, dimensions)"
        )
    for what in ("labels", "queries", "gallery", *(() if embeddings.groups is None else ("groups",))):
        if (shape := getattr(embeddings, what).shape) != (len(vectors),):
            raise DataError(
                f"{name}: {len(vectors)} embeddings but {what} of shape {shape}; expected one for each"
            )
    labels = embeddings.labels
    if labels.dtype.kind not in "biufUS" or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        raise DataError(
            f"{name}: labels are {labels.dtype}, some missing; expected whole numbers or text, all known"
        )
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), _ROWS):
        rows = vectors[start : start + _ROWS]
        if isinstance(rows, np.ndarray):
            with np.errstate(over="ignore"):  # what is not finite then is told below
                norms[start : start + _ROWS] = np.linalg.norm(rows.astype(np.float64), axis=1)
        else:
            norms[start : start + _ROWS] = rows.double().norm(dim=1).cpu().numpy()
    for bad, problem in ((~np.isfinite(norms), "not finite"), (norms == 0, "zero, which has no direction")):
        if bad.any():
            count, first = int(bad.sum()), int(np.argmax(bad))
            raise DataError(
                f"{name}: the embedding of image {first} is {problem}"
                f"{f' (and {count - 1:,} others)' if count > 1 else ''}; the weights may have diverged"
            )
    return norms


def mean_similarity(embeddings: Embeddings) -> float:
    """Mean cosine of two different images, of those that ask or are found, or of all where none does. From
    the length of the mean of the unit vectors; not a number for fewer than two."""
    vectors, norms = embeddings.vectors, lengths(embeddings)
    members = embeddings.queries | embeddings.gallery
    weights = (members if members.any() else np.ones_like(members)) / norms
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(norms), _ROWS):
        rows = vectors[start : start + _ROWS]
        rows = rows.astype(np.float64) if isinstance(rows, np.ndarray) else rows.double().cpu().numpy()
        total += weights[start : start + _ROWS] @ rows
    count = int((weights > 0).sum())
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else np.nan


def collapse(similarity: float, name: str) -> str:
    """What to say of embeddings with this mean similarity, "" where there is nothing to say."""
    if not similarity >= COLLAPSED:
        return ""
    return (
        f"the embeddings of {name} are almost one point: the mean similarity of two images is "
        f"{similarity:.6f}; the model tells hardly anything apart"
    )

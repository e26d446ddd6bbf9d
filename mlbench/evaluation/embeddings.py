"""Embeddings of images, with their labels and their roles as queries and gallery images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlbench.errors import DataError

if TYPE_CHECKING:
    import torch

__all__ = [
    "COLLAPSED",
    "Embeddings",
    "collapse_note",
    "comparable",
    "in_memory",
    "mean_similarity",
    "prefixes",
    "vector_norms",
]

#: Embeddings with at least this mean similarity count as collapsed. Networks with random weights, which
#: separate little, reach up to .990 on small pictures and document pages.
COLLAPSED = 0.999

#: Rows that are processed at a time.
_ROWS = 8192


@dataclass(frozen=True)
class Embeddings:
    """N embedded images.

    vectors: (N, D) floats of any norm but zero; an array, or a torch tensor on the device that compares them.
    labels: (N,) integers. queries, gallery: (N,) bool, whether an image is a query and whether it is in the
    gallery. name: the split or file, for messages; gallery_name: where the gallery comes from, "" for the
    same. groups: (N,) integers, or None for no groups. Two images of one class and one group are not a pair,
    neither positive nor negative, like images of one person from one camera in the Market-1501 protocol.
    Images of different classes are compared whatever their groups. An image with a negative number is in no
    group.
    """

    vectors: Any
    labels: np.ndarray
    queries: np.ndarray
    gallery: np.ndarray
    name: str = "embeddings"
    gallery_name: str = ""
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, vectors: Any, labels: Any, name: str = "embeddings") -> Embeddings:
        """Embeddings that are all queries and all in the gallery."""
        everyone = np.ones(len(labels), bool)
        return cls(vectors, np.asarray(labels), everyone, everyone, name)


def comparable(vectors: torch.Tensor) -> Any:
    """The vectors on a device that can compare them: unchanged on a CUDA GPU, else as an array on the CPU.
    Evaluation needs float64, which some other devices lack."""
    return vectors if vectors.device.type == "cuda" else vectors.cpu().numpy()


def in_memory(embeddings: Embeddings) -> Embeddings:
    """The embeddings with vectors as a NumPy array in the CPU's memory."""
    vectors = embeddings.vectors
    return (
        embeddings if isinstance(vectors, np.ndarray) else replace(embeddings, vectors=vectors.cpu().numpy())
    )


def prefixes(embeddings: Embeddings, width: int) -> Embeddings:
    """The first `width` numbers of each embedding, with unit length: embeddings of a nested width
    (arXiv:2205.13147). Raises DataError as `vector_norms`."""
    vectors = embeddings.vectors[:, :width]
    norms = vector_norms(replace(embeddings, vectors=vectors, name=f"{embeddings.name} at width {width}"))
    units: Any
    divisors: Any
    if isinstance(vectors, np.ndarray):
        units, divisors = np.empty(vectors.shape, vectors.dtype), norms[:, None]
    else:
        import torch

        units = torch.empty(vectors.shape, dtype=vectors.dtype, device=vectors.device)
        divisors = torch.from_numpy(norms)[:, None].to(vectors.device)
    for start in range(0, len(vectors), _ROWS):  # the quotients are float64
        rows = slice(start, start + _ROWS)
        units[rows] = vectors[rows] / divisors[rows]
    return replace(embeddings, vectors=units)


def vector_norms(embeddings: Embeddings) -> np.ndarray:
    """Check the embeddings and return the norms of their vectors, (N,) float64.

    Raises DataError if shapes disagree, labels are missing, or an embedding is zero or not finite and so has
    no cosine. Compiled code relies on this check: every comparison calls it first.
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
            f"{name}: labels are {labels.dtype}, some missing; expected whole numbers or text, none missing"
        )
    norms = _norms(vectors)
    for bad, problem in ((~np.isfinite(norms), "not finite"), (norms == 0, "zero, which has no direction")):
        if bad.any():
            count, first = int(bad.sum()), int(np.argmax(bad))
            raise DataError(
                f"{name}: the embedding of image {first} is {problem}"
                f"{f' (and {count - 1:,} others)' if count > 1 else ''}; the weights may have diverged"
            )
    return norms


def mean_similarity(embeddings: Embeddings) -> float:
    """Mean cosine of two different images with a role, or of all images if none has a role; NaN for fewer
    than two images. Computed from the norm of the mean unit vector."""
    vectors, norms = embeddings.vectors, vector_norms(embeddings)
    if not isinstance(vectors, np.ndarray) and vectors.device.type == "cpu":
        vectors = vectors.numpy()  # the result of an array, to the last bit
    members = embeddings.queries | embeddings.gallery
    weights = (members if members.any() else np.ones_like(members)) / norms
    total = _weighted_sum(vectors, weights)
    count = int((weights > 0).sum())
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else np.nan


def collapse_note(similarity: float, name: str) -> str:
    """A note that embeddings with this mean similarity have collapsed; "" if they have not."""
    if not similarity >= COLLAPSED:
        return ""
    return (
        f"the embeddings of {name} are almost one point: the mean similarity of two images is "
        f"{similarity:.6f}; the model hardly separates any images"
    )


def _norms(vectors: Any) -> np.ndarray:
    """(N,) float64. The norms of a tensor are copied from its device once, at the end."""
    if isinstance(vectors, np.ndarray):
        found = np.empty(len(vectors))
        for start in range(0, len(vectors), _ROWS):
            with np.errstate(over="ignore"):  # an infinite norm is an error of the caller
                found[start : start + _ROWS] = np.linalg.norm(
                    vectors[start : start + _ROWS].astype(np.float64), axis=1
                )
        return found
    import torch

    norms = torch.empty(len(vectors), dtype=torch.float64, device=vectors.device)
    for start in range(0, len(vectors), _ROWS):
        norms[start : start + _ROWS] = vectors[start : start + _ROWS].double().norm(dim=1)
    return norms.cpu().numpy()


def _weighted_sum(vectors: Any, weights: np.ndarray) -> np.ndarray:
    """Sum of the vectors times their weights, (D,) float64, computed on the device of the vectors."""
    if isinstance(vectors, np.ndarray):
        total = np.zeros(vectors.shape[1])
        for start in range(0, len(weights), _ROWS):
            total += weights[start : start + _ROWS] @ vectors[start : start + _ROWS].astype(np.float64)
        return total
    import torch

    placed = torch.from_numpy(weights).to(vectors.device)
    sums = torch.zeros(vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for start in range(0, len(weights), _ROWS):
        sums += placed[start : start + _ROWS] @ vectors[start : start + _ROWS].double()
    return sums.cpu().numpy()

"""A map of images: their unit embeddings in the plane of the first principal components."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlbench.evaluation.detail_tables import ImageMap

__all__ = ["MAPPED", "map_images"]

#: Images of a map, at most.
MAPPED = 2000

#: Bytes of the embeddings that are kept, and the number of principal components that are kept of larger ones.
_BYTES, _REDUCED = 2 << 20, 64

#: Dimensions up to which all components are computed: faster for few.
_FEW = 256


def map_images(vectors: Any, norms: np.ndarray, index: np.ndarray, label: np.ndarray) -> ImageMap:
    """The map of the images `index`, (M,).

    vectors: (N, D) of all images. norms: (M,) float64, of these. label: (M,), positions of their classes.
    """
    some = vectors[index] if isinstance(vectors, np.ndarray) else vectors[index].cpu().numpy()
    units = some.astype(np.float64) / norms[:, None]
    reduced = units.size * 2 > _BYTES
    components, explained = _principal(units, _REDUCED if reduced else 2)
    kept = components if reduced else units
    return ImageMap(
        index.astype(np.int32),
        label.astype(np.int32),
        components[:, 0].astype(np.float32),
        components[:, 1].astype(np.float32),
        explained[:2].astype(np.float32),
        kept.astype(np.float16),
        reduced,
    )


def _principal(units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of the rows, (M, count), and their shares of the variance, (count,); 0
    for those that the data does not have. The largest entry of each direction is positive."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    centred = units - units.mean(0)
    dim = centred.shape[1]
    covariance = centred.T @ centred
    total = np.trace(covariance)
    shares, directions = np.zeros(count), np.zeros((dim, count))
    known = min(count, dim)
    if total > 1e-12 * len(units):
        if dim <= _FEW or known >= dim:
            values, vectors = eigh(covariance, subset_by_index=[dim - known, dim - 1])
        else:
            values, vectors = eigsh(covariance, k=known, v0=np.ones(dim))
        order = np.argsort(-values, kind="stable")
        shares[:known], directions[:, :known] = np.maximum(values[order], 0) / total, vectors[:, order]
        largest = np.abs(directions).argmax(0)
        directions *= np.where(directions[largest, np.arange(count)] < 0, -1, 1)
    return centred @ directions, shares

"""Agreement: on how many pairs two models answer differently whether the images show the same."""

from __future__ import annotations

import numpy as np
import torch

from mlbench.evaluation.embeddings import Embeddings, lengths
from mlbench.evaluation.similarity_grid import on_grid

__all__ = ["differing"]

#: Queries and gallery images that are compared at a time: 16 MiB of scores for each model.
_ROWS, _COLUMNS = 512, 8192


def differing(one: Embeddings, at: float, other: Embeddings, other_at: float) -> float:
    """Share of the pairs (query, gallery image) that are the same by one and different by the other.

    one, other: of the same images, in the same order. at, other_at: the threshold of each, a similarity. Two
    images of one class and group are no pair. Where no image has a role, each is compared with each. Raises
    DataError for embeddings without a cosine.
    """
    queries, gallery = np.flatnonzero(one.queries), np.flatnonzero(one.gallery)
    if len(queries) == 0 or len(gallery) == 0:
        queries = gallery = np.arange(len(one))
    sides = [(_unit(each), float(on_grid(similarity))) for each, similarity in ((one, at), (other, other_at))]
    different = pairs = 0
    for top in range(0, len(queries), _ROWS):
        rows = queries[top : top + _ROWS]
        for left in range(0, len(gallery), _COLUMNS):
            columns = gallery[left : left + _COLUMNS]
            paired = _paired(one, rows, columns)
            answers = [on_grid((unit[rows] @ unit[columns].T).numpy()) >= least for unit, least in sides]
            different += int(((answers[0] ^ answers[1]) & paired).sum())
            pairs += int(paired.sum())
    return different / pairs if pairs else 0.0


def _paired(embeddings: Embeddings, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Which of these images are pairs, (rows, columns) bool."""
    paired: np.ndarray = rows[:, None] != columns
    if embeddings.groups is not None:
        labels, groups = embeddings.labels, embeddings.groups
        together = (groups[rows, None] == groups[columns]) & (groups[columns] >= 0)
        paired &= ~(together & (labels[rows, None] == labels[columns]))
    return paired


def _unit(embeddings: Embeddings) -> torch.Tensor:
    """(N, D) float32 of unit length."""
    return torch.from_numpy((embeddings.vectors / lengths(embeddings)[:, None]).astype(np.float32))

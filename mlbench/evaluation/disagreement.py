"""Disagreement of two models: the share of pairs that they classify differently at their thresholds."""

from __future__ import annotations

import numpy as np
import torch

from mlbench.evaluation.embeddings import Embeddings, vector_norms
from mlbench.evaluation.similarity_grid import on_grid

__all__ = ["disagreement_share"]

#: Queries and gallery images that are compared at a time: 16 MiB of scores for each model.
_ROWS, _COLUMNS = 512, 8192


def disagreement_share(one: Embeddings, at: float, other: Embeddings, other_at: float) -> float:
    """Share of the pairs (query, gallery image) that exactly one of two models accepts.

    one, other: embeddings of the same images in the same order. at, other_at: their thresholds, as
    similarities. Two images of one class and group are not a pair. If no image has a role, all pairs of
    images are compared. Raises DataError for embeddings without a cosine.
    """
    queries, gallery = np.flatnonzero(one.queries), np.flatnonzero(one.gallery)
    if len(queries) == 0 or len(gallery) == 0:
        queries = gallery = np.arange(len(one))
    models = [
        (_unit(each), float(on_grid(similarity))) for each, similarity in ((one, at), (other, other_at))
    ]
    different = pairs = 0
    for top in range(0, len(queries), _ROWS):
        rows = queries[top : top + _ROWS]
        for left in range(0, len(gallery), _COLUMNS):
            columns = gallery[left : left + _COLUMNS]
            are_pairs = _are_pairs(one, rows, columns)
            accepted = [
                on_grid((unit[rows] @ unit[columns].T).numpy()) >= threshold for unit, threshold in models
            ]
            different += int(((accepted[0] ^ accepted[1]) & are_pairs).sum())
            pairs += int(are_pairs.sum())
    return different / pairs if pairs else 0.0


def _are_pairs(embeddings: Embeddings, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether two images are a pair, (rows, columns) bool."""
    are_pairs: np.ndarray = rows[:, None] != columns
    if embeddings.groups is not None:
        labels, groups = embeddings.labels, embeddings.groups
        together = (groups[rows, None] == groups[columns]) & (groups[columns] >= 0)
        are_pairs &= ~(together & (labels[rows, None] == labels[columns]))
    return are_pairs


def _unit(embeddings: Embeddings) -> torch.Tensor:
    """Unit vectors, (N, D) float32."""
    return torch.from_numpy((embeddings.vectors / vector_norms(embeddings)[:, None]).astype(np.float32))

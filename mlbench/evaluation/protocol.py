"""The protocol of an evaluation: the queries of one split against the gallery of another, and its words."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlbench.evaluation.embeddings import Embeddings

__all__ = ["against", "described", "is_grouped"]


def against(queries: Embeddings, gallery: Embeddings) -> Embeddings:
    """The queries of one set of embeddings and the gallery of another, as one set.

    Labels and groups must mean the same in both. Rows of `queries` come first; the gallery roles of
    `queries` and the query roles of `gallery` are dropped. An image that is in both must be in one group, or
    it finds itself.
    """
    groups = None
    if queries.groups is not None or gallery.groups is not None:
        groups = np.concatenate(
            [np.full(len(each), -1) if each.groups is None else each.groups for each in (queries, gallery)]
        )
    return Embeddings(
        _joined(queries.vectors, gallery.vectors),
        np.concatenate([queries.labels, gallery.labels]),
        np.concatenate([queries.queries, np.zeros(len(gallery), bool)]),
        np.concatenate([np.zeros(len(queries), bool), gallery.gallery]),
        queries.name,
        searched=gallery.name,
        groups=groups,
    )


def described(embeddings: Embeddings) -> str:
    """The protocol in words: how many images of how many classes ask, and what they are compared with."""
    queries, gallery, name = embeddings.queries, embeddings.gallery, embeddings.name
    asking = embeddings.labels[queries]
    if np.array_equal(queries, gallery):
        text = f"leave one out among {len(asking):,} {name} images of {_classes(asking)}"
    else:
        found = embeddings.labels[gallery]
        text = (
            f"{'closed set: ' if embeddings.searched == 'train' else ''}"
            f"{len(asking):,} {name} {'query' if len(asking) == 1 else 'queries'} of {_classes(asking)} "
            f"against {len(found):,} {embeddings.searched or name} gallery images of {_classes(found)} "
            f"({_per_class(found)} a class)"
        )
    if is_grouped(embeddings):
        text += "; images of one class and group are no pair"
    return text


def is_grouped(embeddings: Embeddings) -> bool:
    """Whether two images of those that ask or are found share a group."""
    if embeddings.groups is None:
        return False
    groups = embeddings.groups[embeddings.queries | embeddings.gallery]
    groups = groups[groups >= 0]
    return len(np.unique(groups)) < len(groups)


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    import torch

    return torch.cat([first, second])


def _classes(labels: np.ndarray) -> str:
    count = len(np.unique(labels))
    return f"{count:,} class{'es' * (count != 1)}"


def _per_class(labels: np.ndarray) -> str:
    """How many images a class has: "1", or "3 to 20"."""
    sizes = np.unique(labels, return_counts=True)[1]
    least, most = (int(sizes.min()), int(sizes.max())) if len(sizes) else (0, 0)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"

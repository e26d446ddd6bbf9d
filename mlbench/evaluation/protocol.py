"""The protocol of an evaluation: the queries of one split with the gallery of another, and its
description."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlbench.evaluation.embeddings import Embeddings

__all__ = ["describe_protocol", "has_groups", "with_gallery"]


def with_gallery(queries: Embeddings, gallery: Embeddings) -> Embeddings:
    """The queries of one set of embeddings and the gallery of another, as one set.

    Labels and groups must mean the same in both. Rows of `queries` come first. The gallery roles of `queries`
    and the query roles of `gallery` are dropped. An image that is in both sets must be in one group, or it is
    its own positive.
    """
    groups = None
    if queries.groups is not None or gallery.groups is not None:
        groups = np.concatenate(
            [np.full(len(each), -1) if each.groups is None else each.groups for each in (queries, gallery)]
        )
    return Embeddings(
        _concatenate(queries.vectors, gallery.vectors),
        np.concatenate([queries.labels, gallery.labels]),
        np.concatenate([queries.queries, np.zeros(len(gallery), bool)]),
        np.concatenate([np.zeros(len(queries), bool), gallery.gallery]),
        queries.name,
        gallery_name=gallery.name,
        groups=groups,
    )


def describe_protocol(embeddings: Embeddings) -> str:
    """The protocol in words: numbers of queries, gallery images and their classes."""
    queries, gallery, name = embeddings.queries, embeddings.gallery, embeddings.name
    query_labels, gallery_labels = embeddings.labels[queries], embeddings.labels[gallery]
    if np.array_equal(queries, gallery):
        text = f"leave one out among {len(query_labels):,} {name} images of {_classes(query_labels)}"
    else:
        text = (
            f"{'closed set: ' if embeddings.gallery_name == 'train' else ''}"
            f"{len(query_labels):,} {name} {'query' if len(query_labels) == 1 else 'queries'} of "
            f"{_classes(query_labels)} against {len(gallery_labels):,} {embeddings.gallery_name or name} "
            f"gallery images of {_classes(gallery_labels)} ({_per_class(gallery_labels)} a class)"
        )
    if has_groups(embeddings):
        text += "; images of one class and group are not a pair"
    return text


def has_groups(embeddings: Embeddings) -> bool:
    """Whether two images with a role share a group."""
    if embeddings.groups is None:
        return False
    groups = embeddings.groups[embeddings.queries | embeddings.gallery]
    groups = groups[groups >= 0]
    return len(np.unique(groups)) < len(groups)


def _concatenate(first: Any, second: Any) -> Any:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    import torch

    return torch.cat([first, second])


def _classes(labels: np.ndarray) -> str:
    count = len(np.unique(labels))
    return f"{count:,} class{'es' * (count != 1)}"


def _per_class(labels: np.ndarray) -> str:
    """Number of images per class: "1", or "3 to 20"."""
    sizes = np.unique(labels, return_counts=True)[1]
    least, most = (int(sizes.min()), int(sizes.max())) if len(sizes) else (0, 0)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"

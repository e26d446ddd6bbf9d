"""Notes on repeated embeddings and repeated pairs, which make metrics better than the model is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlbench.contracts import PairList
from mlbench.evaluation.embeddings import Embeddings
from mlbench.seeding import numpy_generator

__all__ = ["repeated_embeddings_note", "repeated_pairs_note"]

#: Rows that are hashed at a time.
_ROWS = 8192


def repeated_embeddings_note(embeddings: Embeddings) -> str:
    """A note on queries with the same embedding as another image of their class, "" if there is none.

    Distributed samplers cause such repeats if they fill their last batches with images from the start.
    Embeddings shared by images of several classes do not count: the model causes these.
    """
    suspects = _possible_repeats(embeddings.vectors)
    if len(suspects) == 0:
        return ""
    labels = embeddings.labels[suspects].tolist()
    groups = [-1] * len(labels) if embeddings.groups is None else embeddings.groups[suspects].tolist()
    rows = list(zip(labels, _digests(embeddings.vectors[suspects]), strict=True))
    queries, gallery = embeddings.queries[suspects], embeddings.gallery[suspects].tolist()
    members = (queries | embeddings.gallery[suspects]).tolist()
    classes = Counter(digest for _, digest in {row for row, here in zip(rows, members, strict=True) if here})
    found = Counter(row for row, here in zip(rows, gallery, strict=True) if here)
    grouped = Counter(
        pair for pair, here in zip(zip(rows, groups, strict=True), gallery, strict=True) if here
    )
    count = 0
    for at in np.flatnonzero(queries).tolist():
        row, group = rows[at], groups[at]
        # The query itself and images of its group are not candidates.
        others = found[row] - (grouped[row, group] if group >= 0 else gallery[at])
        count += others > 0 and classes[row[1]] == 1
    if not count:
        return ""
    return (
        f"{count:,} of {int(embeddings.queries.sum()):,} queries have the same embedding as another image of "
        "their class, which any model finds; check whether images are repeated"
    )


def repeated_pairs_note(pairs: PairList) -> str:
    """A note on pairs that occur several times in a list, in either order; "" if there is none."""
    ends = np.stack([np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right)], axis=1)
    different = len(np.unique(ends, axis=0))
    in_folds = len(np.unique(np.column_stack([ends, pairs.folds]), axis=0))
    if different == len(ends):
        return ""
    text = f"{len(ends) - different:,} of {len(ends):,} pairs repeat another pair of the list"
    if in_folds > different:
        text += "; some are in several folds, so a threshold is scored on pairs that it was fitted on"
    return text


def _possible_repeats(vectors: Any) -> np.ndarray:
    """Indices of all rows that are equal to another row, and possibly of some others.

    Compares 64-bit sums of the words of each row times fixed factors, which cost less than a digest.
    """
    keys = np.empty(len(vectors), np.uint64)
    for start in range(0, len(vectors), _ROWS):
        rows = vectors[start : start + _ROWS]
        rows = np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else rows.cpu().numpy())
        words = rows.view(f"u{min(4, rows.itemsize)}")
        generator = numpy_generator(0, "repeats")
        factors = generator.integers(1 << 64, size=words.shape[1], dtype=np.uint64)
        keys[start : start + _ROWS] = words.astype(np.uint64) @ factors
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse] > 1)


def _digests(vectors: Any) -> Iterator[bytes]:
    """A short hash of each row."""
    for start in range(0, len(vectors), _ROWS):
        rows = vectors[start : start + _ROWS]
        rows = rows if isinstance(rows, np.ndarray) else rows.cpu().numpy()
        for row in np.ascontiguousarray(rows):
            yield hashlib.blake2b(row, digest_size=16).digest()

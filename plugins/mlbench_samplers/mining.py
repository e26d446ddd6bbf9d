"""Mining of triplets: which images an anchor misses at a threshold, and which it falsely accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlbench.errors import TrainingError
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.evaluate import Engine, verification_curve
from mlbench.evaluation.similarity import STEP
from mlbench.seeding import matmul_precision

__all__ = ["Mined", "mine_hard", "mine_random"]

#: Bytes for what is known at a time of some anchors against all images, and images that are scored at a time.
_MEMORY, _COLUMNS = 64 << 20, 8192

#: More triplets than this are no longer kept (12 bytes each).
_MOST = 1 << 26


@dataclass(frozen=True)
class Mined:
    """triplets: (M, 3) int32, indices of anchor, positive, negative; those of an anchor stand together.
    summary: what was found, in a line."""

    triplets: np.ndarray
    summary: str


def mine_hard(
    vectors: np.ndarray, labels: np.ndarray, per_anchor: int | None, generator: np.random.Generator
) -> Mined:
    """Triplets of hard positives and hard negatives at the threshold of the best F1.

    vectors: (N, D) float32 of unit length. labels: (N,) int64. per_anchor: at most so many of an anchor,
    None for all. Scores all pairs twice, in blocks. Raises DataError for embeddings that cannot be compared,
    TrainingError for more triplets than can be kept.
    """
    curve = verification_curve(Embeddings.of(vectors, labels, "train split"), Engine())
    scores = curve.fbeta()
    best = int(scores.argmax())
    similarity = float(curve.similarities[best])
    chosen = _Chosen(per_anchor, generator)
    for anchor, positives, negatives in _hard(vectors, labels, similarity):
        chosen.add(anchor, positives, negatives)
    return chosen.mined(
        len(labels),
        "hard",
        f"; the others have no hard positive or no hard negative and never train as anchors (distance t* "
        f"{1 - similarity:.4f} with the best F1, {scores[best]:.4f})",
    )


def mine_random(labels: np.ndarray, per_anchor: int | None, generator: np.random.Generator) -> Mined:
    """Triplets of any positives and negatives, equally many of each anchor where it has so many.

    labels: (N,) int64. Raises TrainingError for more triplets than can be kept.
    """
    order = np.argsort(labels, kind="stable")
    chosen = _Chosen(per_anchor, generator)
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(members) < 2:
            continue
        others = np.flatnonzero(labels != labels[members[0]])
        for anchor in members:
            chosen.add(int(anchor), members[members != anchor], others)
    return chosen.mined(len(labels), "random", "; the others are alone in their class")


class _Chosen:
    """Triplets chosen of each anchor's, while they are found."""

    def __init__(self, per_anchor: int | None, generator: np.random.Generator) -> None:
        self._per_anchor = per_anchor
        self._generator = generator
        self._parts: list[np.ndarray] = []
        self._count = 0

    def add(self, anchor: int, positives: np.ndarray, negatives: np.ndarray) -> None:
        total = len(positives) * len(negatives)
        if total == 0:
            return
        count = total if self._per_anchor is None else min(self._per_anchor, total)
        self._count += count
        if self._count > _MOST:
            raise TrainingError(
                f"batch sampler hard_triplets: more than {_MOST:,} triplets; lower per_anchor "
                f"({'null' if self._per_anchor is None else self._per_anchor})"
            )
        places = np.arange(total)
        if count < total:
            places = self._generator.choice(total, count, replace=False, shuffle=False)
        part = np.empty((count, 3), np.int32)
        part[:, 0] = anchor
        part[:, 1] = positives[places // len(negatives)]
        part[:, 2] = negatives[places % len(negatives)]
        self._parts.append(part)

    def mined(self, images: int, kind: str, others: str) -> Mined:
        triplets = np.concatenate(self._parts) if self._parts else np.empty((0, 3), np.int32)
        anchors = len(self._parts)
        summary = f"{len(triplets):,} {kind} triplets; {anchors:,} of {images:,} images are anchors"
        return Mined(triplets, summary + (others if anchors < images else ""))


def _hard(
    vectors: np.ndarray, labels: np.ndarray, similarity: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each anchor with its hard positives and hard negatives, where it has both."""
    unit, codes = torch.from_numpy(vectors), torch.from_numpy(labels)
    count = len(labels)
    height = max(1, min(512, _MEMORY // (2 * count)))
    for top in range(0, count, height):
        rows, own = unit[top : top + height], codes[top : top + height, None]
        positive, negative = torch.empty((2, len(rows), count), dtype=torch.bool)
        for left in range(0, count, _COLUMNS):
            columns = slice(left, left + _COLUMNS)
            with matmul_precision("highest"):
                scores = rows @ unit[columns].T
            same = own == codes[columns]
            # A pair so near to the threshold that rounding decides is on both sides.
            positive[:, columns] = same & (scores <= similarity + STEP)
            negative[:, columns] = ~same & (scores >= similarity - STEP)
        positive[torch.arange(len(rows)), torch.arange(top, top + len(rows))] = False
        for row in (positive.any(1) & negative.any(1)).nonzero().flatten().tolist():
            yield top + row, *(np.flatnonzero(mask[row].numpy()) for mask in (positive, negative))

"""Triplet mining: hard triplets at the threshold with the best F1, or random triplets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from mlbench.errors import TrainingError
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine, verification_curve
from mlbench.evaluation.similarity_grid import STEP
from mlbench.seeding import matmul_precision

__all__ = ["Mined", "mine_hard", "mine_random"]

#: Bytes of the masks that are held at a time, and images that are scored at a time.
_MASK_BYTES, _COLUMNS = 64 << 20, 8192

#: The most triplets that are kept (12 bytes each).
_MOST = 1 << 26


@dataclass(frozen=True)
class Mined:
    """Mined triplets and one line that describes them.

    triplets: (M, 3) int32, indices of anchor, positive and negative; an anchor's triplets are contiguous.
    """

    triplets: np.ndarray
    summary: str


def mine_hard(
    vectors: np.ndarray, labels: np.ndarray, per_anchor: int | None, generator: np.random.Generator
) -> Mined:
    """Triplets of hard positives and hard negatives at the threshold with the best F1.

    vectors: (N, D) float32 of unit length. labels: (N,) int64. per_anchor: the most triplets of one anchor,
    None for all. Scores all pairs twice, in blocks. Raises DataError for embeddings that cannot be compared,
    TrainingError for more triplets than can be kept.
    """
    curve = verification_curve(Embeddings.of(vectors, labels, "train split"), Engine())
    scores = curve.fbeta()
    best = int(scores.argmax())
    similarity = float(curve.similarities[best])
    chosen = _ChosenTriplets(per_anchor, generator)
    for anchor, positives, negatives in _hard(vectors, labels, similarity):
        pairs = chosen.draw(len(positives) * len(negatives))
        chosen.add(anchor, positives[pairs // len(negatives)], negatives[pairs % len(negatives)])
    return chosen.mined(
        len(labels),
        "hard",
        f"; the others have no hard positive or no hard negative and never train as anchors (distance t* "
        f"{1 - similarity:.4f} with the best F1, {scores[best]:.4f})",
    )


def mine_random(labels: np.ndarray, per_anchor: int | None, generator: np.random.Generator) -> Mined:
    """Triplets of random positives and negatives: `per_anchor` of each anchor, or all where it has fewer.

    labels: (N,) int64. Raises TrainingError for more triplets than can be kept. With a number `per_anchor`,
    memory and time for an anchor do not grow with the number of its positives and negatives.
    """
    order = np.argsort(labels, kind="stable")  # the images of a class are order[start:stop]
    bounds = [0, *(np.flatnonzero(np.diff(labels[order])) + 1).tolist(), len(order)]
    chosen = _ChosenTriplets(per_anchor, generator)
    for start, stop in pairwise(bounds):
        size, others = stop - start, len(order) - (stop - start)
        if size < 2 or others == 0:
            continue
        for own in range(start, stop):
            positives, negatives = np.divmod(chosen.draw((size - 1) * others), others)
            positives += start
            positives += positives >= own  # skips the anchor
            negatives += size * (negatives >= start)  # skips its class
            chosen.add(int(order[own]), order[positives], order[negatives])
    return chosen.mined(len(labels), "random", "; the others are alone in their class")


class _ChosenTriplets:
    """Triplets that were chosen so far."""

    def __init__(self, per_anchor: int | None, generator: np.random.Generator) -> None:
        self._per_anchor = per_anchor
        self._generator = generator
        self._parts: list[np.ndarray] = []
        self._count = 0

    def draw(self, total: int) -> np.ndarray:
        """Numbers of the triplets to take of an anchor that has `total`: different ones, below `total`."""
        count = total if self._per_anchor is None else min(self._per_anchor, total)
        self._count += count
        if self._count > _MOST:
            raise TrainingError(
                f"batch sampler hard_triplets: more than {_MOST:,} triplets; lower per_anchor "
                f"({'null' if self._per_anchor is None else self._per_anchor})"
            )
        if count == total:
            return np.arange(total)
        return self._generator.choice(total, count, replace=False, shuffle=False)

    def add(self, anchor: int, positives: np.ndarray, negatives: np.ndarray) -> None:
        """Keep an anchor's triplets. positives, negatives: (count,), one of each in a triplet."""
        part = np.empty((len(positives), 3), np.int32)
        part[:, 0], part[:, 1], part[:, 2] = anchor, positives, negatives
        self._parts.append(part)

    def mined(self, images: int, kind: str, others: str) -> Mined:
        """All of them. images: in the split. others: what the summary adds about images that are no
        anchors."""
        triplets = np.concatenate(self._parts) if self._parts else np.empty((0, 3), np.int32)
        anchors = len(self._parts)
        summary = f"{len(triplets):,} {kind} triplets; {anchors:,} of {images:,} images are anchors"
        return Mined(triplets, summary + (others if anchors < images else ""))


def _hard(
    vectors: np.ndarray, labels: np.ndarray, similarity: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each anchor that has both, with its hard positives and its hard negatives."""
    unit, codes = torch.from_numpy(vectors), torch.from_numpy(labels)
    count = len(labels)
    height = max(1, min(512, _MASK_BYTES // (2 * count)))
    for top in range(0, count, height):
        rows, own = unit[top : top + height], codes[top : top + height, None]
        positive, negative = torch.empty((2, len(rows), count), dtype=torch.bool)
        for left in range(0, count, _COLUMNS):
            columns = slice(left, left + _COLUMNS)
            with matmul_precision("highest"):
                scores = rows @ unit[columns].T
            same = own == codes[columns]
            # A pair within rounding of the threshold counts on both sides.
            positive[:, columns] = same & (scores <= similarity + STEP)
            negative[:, columns] = ~same & (scores >= similarity - STEP)
        positive[torch.arange(len(rows)), torch.arange(top, top + len(rows))] = False
        for row in (positive.any(1) & negative.any(1)).nonzero().flatten().tolist():
            yield top + row, *(np.flatnonzero(mask[row].numpy()) for mask in (positive, negative))

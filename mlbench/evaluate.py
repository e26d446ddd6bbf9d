"""Evaluation: retrieval and verification over all pairs, with a threshold that was fitted elsewhere.

Pairs are ordered (query, gallery), never an image with itself. Two images are predicted to be the same
when their cosine similarity is at least the threshold; thresholds are reported as cosine distances.

The similarity matrix is walked in blocks of rows and never kept. The best threshold over all is exact: F1
can only rise where a positive pair is added, so it is enough to count, at each positive pair's
similarity, the negatives at or above it. Memory grows with the number of positive pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mlbench.embed import Embeddings
from mlbench.errors import DataError
from mlbench.seeding import matmul_precision

__all__ = ["Operating", "best_f1", "evaluate", "recall_at_1", "score_at"]

#: Elements of the similarity matrix held at once (64 MiB in float32).
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Operating:
    """An operating point: similarity threshold, and the counts of ordered pairs at or above it."""

    similarity: float
    true_positives: int
    false_positives: int
    positives: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 when nothing is predicted positive."""
        predicted = self.true_positives + self.false_positives
        return self.true_positives / predicted if predicted else 0.0

    @property
    def recall(self) -> float:
        """TP / P."""
        return self.true_positives / self.positives

    @property
    def f1(self) -> float:
        """2 TP / (TP + FP + P)."""
        return 2 * self.true_positives / (self.true_positives + self.false_positives + self.positives)

    @property
    def distance(self) -> float:
        """The threshold as a cosine distance."""
        return 1.0 - self.similarity


def evaluate(calibration: Embeddings, test: Embeddings) -> dict[str, float]:
    """Every metric of `mlbench.record.METRICS`; the threshold has the best F1 on `calibration`.

    Raises DataError when a split has no positive pair, or embeddings are not finite.
    """
    # A training option must not change what is measured, however it rounds products.
    with matmul_precision("highest"):
        fitted = best_f1(calibration, "calibration")
        optimistic = best_f1(test, "test")
        honest = score_at(test, fitted.similarity)
        recall = recall_at_1(test)
    return {
        "recall_at_1": recall,
        "f1": honest.f1,
        "precision": honest.precision,
        "recall": honest.recall,
        "f1_threshold": fitted.distance,
        "f1_optimistic": optimistic.f1,
        "f1_optimistic_threshold": optimistic.distance,
    }


def recall_at_1(embeddings: Embeddings) -> float:
    """Share of queries whose most similar gallery image, not the query itself, is of the query's class.

    Queries with no other image of their class in the gallery are left out. Ties count as misses: a
    query hits when its best positive is strictly more similar than every negative.
    """
    hits = asked = 0
    for similarities, positive, negative in _blocks(embeddings):
        best_positive = similarities.masked_fill(~positive, -torch.inf).amax(1)
        best_negative = similarities.masked_fill(~negative, -torch.inf).amax(1)
        answerable = positive.any(1)
        hits += int((answerable & (best_positive > best_negative)).sum())
        asked += int(answerable.sum())
    return hits / asked if asked else 0.0


def best_f1(embeddings: Embeddings, name: str = "embeddings") -> Operating:
    """The operating point with the best F1 over all thresholds; of equals the most precise.

    name: of the split, for messages. Raises DataError when there is no positive pair or a value is not
    finite.
    """
    if not torch.isfinite(embeddings.vectors).all():
        raise DataError(f"{name}: embeddings are not finite; the model's weights may have diverged")
    found = [similarities[positive] for similarities, positive, _ in _blocks(embeddings)]
    scores = torch.cat(found).sort().values if found else torch.empty(0)
    if len(scores) == 0:
        raise DataError(f"{name}: no class has two images, so there is no pair to recognise")
    thresholds, counts = torch.unique_consecutive(scores, return_counts=True)
    true_positives = counts.flip(0).cumsum(0).flip(0)
    # bins[k]: negatives at or above exactly the first k thresholds.
    bins = torch.zeros(len(thresholds) + 1, dtype=torch.int64, device=scores.device)
    for similarities, _, negative in _blocks(embeddings):
        rivals = similarities[negative & (similarities >= thresholds[0])]
        bins += torch.bincount(torch.bucketize(rivals, thresholds, right=True), minlength=len(bins))
    false_positives = bins.flip(0).cumsum(0).flip(0)[1:]
    f1 = 2 * true_positives.double() / (true_positives + false_positives + len(scores))
    best = len(f1) - 1 - int(f1.flip(0).argmax())
    return Operating(
        float(thresholds[best]), int(true_positives[best]), int(false_positives[best]), len(scores)
    )


def score_at(embeddings: Embeddings, similarity: float) -> Operating:
    """The operating point at a given similarity threshold."""
    true_positives = false_positives = positives = 0
    for similarities, positive, negative in _blocks(embeddings):
        predicted = similarities >= similarity
        true_positives += int((predicted & positive).sum())
        false_positives += int((predicted & negative).sum())
        positives += int(positive.sum())
    return Operating(similarity, true_positives, false_positives, positives)


def _blocks(embeddings: Embeddings) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Rows of the query by gallery similarity matrix: similarities, and which pairs are positive and
    negative; an image with itself is neither."""
    queries = embeddings.queries.nonzero().flatten()
    gallery = embeddings.gallery.nonzero().flatten()
    if len(gallery) == 0:
        return
    found, found_labels = embeddings.vectors[gallery], embeddings.labels[gallery]
    for rows in torch.split(queries, max(1, _BLOCK // len(gallery))):
        similarities = embeddings.vectors[rows] @ found.T
        same = embeddings.labels[rows][:, None] == found_labels[None, :]
        other = rows[:, None] != gallery[None, :]
        yield similarities, same & other, ~same & other

"""The least and the most similar positive pairs of some queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlbench.evaluation.all_pairs import AllPairs, OrderedImages
from mlbench.evaluation.gallery_search import Hits, first_hits

__all__ = ["extreme_positives"]

#: Gallery images of a class that are compared at a time.
_COLUMNS = 4096


def extreme_positives(
    pairs: AllPairs, rows: np.ndarray, bound: float, most: int, *, most_similar: bool
) -> Hits:
    """At most `most` positive pairs of the queries at the places `rows`, (n,) ascending: the most similar
    ones from the similarity `bound`, or the least similar ones up to it, in this order."""
    found = Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    for query, image, scores in _positives(pairs, rows):
        inside = scores >= bound if most_similar else scores <= bound
        hits = query[inside], image[inside], scores[inside]
        joined = Hits(*map(np.concatenate, zip(found, hits, strict=True)))
        found = first_hits(joined, most, most_similar=most_similar, once=pairs.mirrored)
    return found


def _positives(pairs: AllPairs, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places and scores of all positives of the rows, class by class: (P,) each."""
    labels = pairs.queries.labels[rows]
    for label in np.unique(labels):
        mine = rows[labels == label]
        left, right = pairs.gallery.first[label : label + 2]
        vectors = _units(pairs.queries, mine)
        for start in range(left, right, _COLUMNS):
            columns = np.arange(start, min(start + _COLUMNS, right))
            scores = vectors @ _units(pairs.gallery, columns).T
            other = pairs.queries.groups[mine, None] != pairs.gallery.groups[columns]
            row, column = np.nonzero(other)
            yield mine[row], columns[column], scores[row, column]


def _units(ordered: OrderedImages, places: np.ndarray) -> np.ndarray:
    """Unit vectors of the images at some places, (n, D) float32, in the CPU's memory."""
    images = ordered.images[places]
    vectors: Any = ordered.vectors
    some = vectors[images] if isinstance(vectors, np.ndarray) else vectors[images].cpu().numpy()
    units: np.ndarray = (some.astype(np.float64) / ordered.norms[places, None]).astype(np.float32)
    return units

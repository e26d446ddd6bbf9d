"""A search of the whole gallery for some queries: their nearest images, similar negatives, a histogram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.similarity_grid import STEP

__all__ = ["Hits", "NearestImages", "NegativeHistogram", "Searched", "SimilarNegatives", "search_gallery"]

#: Number of nearest images that are kept for a query.
NEAREST = 5

#: Grid points on either side of 0, with some beyond 1 for rounding errors.
_HALF_GRID = round(1 / STEP) + 256

#: Bits of a key below the score: one for the class, the others for the place.
_PLACE_BITS = 31

#: Below every key; its negative is an int64, too.
_NO_KEY = np.iinfo(np.int64).min + 1


class Searched(NamedTuple):
    """A tile of scores, (n, m) float32. rows: (n,) places of the queries. left: place of the first column.
    same: (n, m) bool, pairs of one class; other: (n, m) bool, all pairs but those."""

    rows: np.ndarray
    left: int
    scores: np.ndarray
    same: np.ndarray
    compared: np.ndarray


class Hits(NamedTuple):
    """Pairs of a query and a gallery image, by their places: (P,) each."""

    query: np.ndarray
    image: np.ndarray
    similarity: np.ndarray


class NearestImages:
    """The `NEAREST` images of each query, and its nearest image of the same class.

    rows: (n,) places of the queries, ascending. place: (n, NEAREST) int64, -1 for none. similarity: (n,
    NEAREST) float32. same: (n, NEAREST) bool. right, right_similarity: (n,). Of equal similarities a negative
    is nearer, then the first in the order of the score matrix.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self._keys = np.full((len(rows), NEAREST), _NO_KEY)  # descending
        self._right = np.full(len(rows), _NO_KEY)

    def add(self, tile: Searched) -> None:
        """Search a tile whose queries include some of these."""
        mine, inside = _members(self.rows, tile.rows)
        scores, same = tile.scores[inside], tile.same[inside]
        # Most scores are no higher than the last that is kept: keys are made for the others alone. Of equal
        # scores a later place is further away, except that a negative is nearer than a positive.
        _, last, last_same = _decoded(self._keys[mine, -1:])
        last = np.where(np.isnan(last), -np.inf, last)
        nearer = (scores > last) | ((scores == last) & last_same)
        row, column = np.nonzero((nearer | same) & tile.compared[inside])
        keys = _keys(scores[row, column], column + tile.left, same[row, column])
        of_class = same[row, column]
        np.maximum.at(self._right, mine[row[of_class]], keys[of_class])
        rows = np.concatenate([np.repeat(np.arange(len(mine)), NEAREST), row])
        every = np.concatenate([self._keys[mine].ravel(), keys])
        order = np.lexsort((-every, rows))
        rank = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
        self._keys[mine] = every[order[rank < NEAREST]].reshape(-1, NEAREST)

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """place, similarity, same, right and right_similarity, as described."""
        right, right_similarity, _ = _decoded(self._right)
        return *_decoded(self._keys), right, right_similarity


class SimilarNegatives:
    """The `most` most similar negative pairs of some queries.

    rows: (n,) places of the queries, ascending. floor: the lowest similarity that is of interest. once:
    whether the two orders of a pair are one pair.
    """

    def __init__(self, rows: np.ndarray, floor: float, most: int, *, once: bool) -> None:
        self.rows, self._floor, self._most, self._once = rows, np.float32(floor), most, once
        self._found = Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))

    def add(self, tile: Searched) -> None:
        """Search a tile whose queries include some of these."""
        mine, inside = _members(self.rows, tile.rows)
        scores = tile.scores[inside]
        row, column = np.nonzero((scores >= self._floor) & ~tile.same[inside])
        hits = self.rows[mine][row], column + tile.left, scores[row, column]
        joined = Hits(*map(np.concatenate, zip(self._found, hits, strict=True)))
        self._found = first_hits(joined, self._most, most_similar=True, once=self._once)

    def result(self) -> Hits:
        """The pairs, the most similar first."""
        return self._found


class NegativeHistogram:
    """Numbers of the negatives of some queries in bins. rows: (n,) places of the queries, ascending. edges:
    (B + 1,) ascending, on the grid."""

    def __init__(self, rows: np.ndarray, edges: np.ndarray) -> None:
        self.rows = rows
        # The first point of each bin on the grid; rounding errors beyond -1 and 1 are in the outer bins.
        self._first = np.append(0, np.rint(edges[1:-1] / STEP).astype(np.int64) + _HALF_GRID)
        self._points = np.zeros(2 * _HALF_GRID + 1, np.int64)

    def add(self, tile: Searched) -> None:
        """Count a tile whose queries include some of these."""
        _, inside = _members(self.rows, tile.rows)
        scores = tile.scores[inside][~tile.same[inside]]
        points = np.rint(scores / np.float32(STEP)).astype(np.int64) + _HALF_GRID
        self._points += np.bincount(points, minlength=len(self._points))

    @property
    def counts(self) -> np.ndarray:
        """(B,) int64."""
        found: np.ndarray = np.add.reduceat(self._points, self._first)
        return found


def search_gallery(
    pairs: AllPairs, engine: Engine, *searches: NearestImages | SimilarNegatives | NegativeHistogram
) -> None:
    """Score each query of the searches with the whole gallery once, and add the scores to the searches."""
    rows = np.unique(np.concatenate([each.rows for each in searches]))
    if not len(rows):
        return
    some, gallery = pairs.of_queries(rows), pairs.gallery
    for top, left, scores in engine.scores(some):
        part, columns = slice(top, top + len(scores)), slice(left, left + scores.shape[1])
        same = some.queries.labels[part, None] == gallery.labels[columns]
        compared = ~same | (some.queries.groups[part, None] != gallery.groups[columns])
        tile = Searched(rows[part], left, scores, same, compared)
        for search in searches:
            search.add(tile)


def first_hits(hits: Hits, most: int, *, most_similar: bool, once: bool) -> Hits:
    """The most, or the least, similar of some pairs, in this order, then by their places. once: whether the
    two orders of a pair are one pair, which has the higher similarity of both."""
    query, image, similarity = _cut(hits, 2 * most, most_similar=most_similar)
    if once:
        query, image = np.minimum(query, image), np.maximum(query, image)
        order = np.lexsort((-similarity, image, query))
        query, image, similarity = (each[order] for each in (query, image, similarity))
        new = np.append(True, (np.diff(query) != 0) | (np.diff(image) != 0))[: len(query)]
        query, image, similarity = (each[new] for each in (query, image, similarity))
    order = np.lexsort((image, query, -similarity if most_similar else similarity))[:most]
    return Hits(query[order], image[order], similarity[order])


def _cut(hits: Hits, most: int, *, most_similar: bool) -> Hits:
    """The `most` most, or least, similar of some pairs, in their order; of equal ones the first."""
    if len(hits.query) <= most:
        return hits
    values = -hits.similarity if most_similar else hits.similarity
    bound = np.partition(values, most - 1)[most - 1]
    equal = np.flatnonzero(values == bound)
    kept = values < bound
    kept[equal[: most - int(kept.sum())]] = True
    return Hits(*(each[kept] for each in hits))


def _members(rows: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of common places in `rows` and in `some`; both ascend."""
    _, mine, inside = np.intersect1d(rows, some, assume_unique=True, return_indices=True)
    return mine, inside


def _keys(scores: np.ndarray, places: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Distinct numbers that order the images of a query: a nearer image has the higher number. (n,) each."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # -0 becomes 0
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    below = (1 << _PLACE_BITS) - 1 - places
    return (ordered << (_PLACE_BITS + 1)) + (~same).astype(np.int64) * (1 << _PLACE_BITS) + below


def _decoded(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place, similarity and class bit of keys; -1, NaN and False for none."""
    known = keys != _NO_KEY
    ordered = keys >> (_PLACE_BITS + 1)
    bits = np.where(ordered < 0, (1 << 31) - ordered, ordered).astype(np.uint32)
    place = (1 << _PLACE_BITS) - 1 - (keys & ((1 << _PLACE_BITS) - 1))
    same = known & ((keys >> _PLACE_BITS) & 1 == 0)
    return np.where(known, place, -1), np.where(known, bits.view(np.float32), np.nan), same

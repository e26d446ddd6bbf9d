"""One pass over all pairs: the verification curve, every query's ranks, and both by class.

The matrix of similarities is computed in tiles and never kept; on a data set against itself each pair is
scored once. First the few tiles that hold positives are scored. Then, with every positive known, all tiles
are, and each negative is only counted: against the thresholds (the positives' scores) and in the rankings
of the two images it belongs to. Scores that meet a threshold are rounded (see
`mlbench.evaluation.similarity_grid`), those of a ranking are not. What is kept grows with the number of positive
pairs; when those exceed the memory budget, every similarity that there can be becomes a threshold and
rankings are made for some queries at a time.

A tile has the same shape whatever the budget and the number of threads, so these change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from mlbench.evaluation.all_pairs import Pairs
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.ranks import Ranks
from mlbench.evaluation.similarity_grid import STEP, on_grid

if TYPE_CHECKING:
    from types import EllipsisType

__all__ = ["Bands", "Counter", "Counts", "Products", "Progress", "Scan", "scan"]

#: How similarities are computed: in float32, or from vectors rounded to TF32 or bfloat16 and summed in
#: float32, as a GPU's matrix units do.
Products = Literal["float32", "tf32", "bf16"]

#: Called with tiles done and tiles in all.
Progress = Callable[[int, int], None]

#: Positives whose ranks are turned into values together; metrics need several numbers for each.
_RANKED = 1 << 20

#: Bytes for each ordered positive pair: score and count of rivals; a copy to sort; its threshold with three
#: counts (a pair of the same images in the other order shares it, but need not). What metrics make of a curve
#: takes as much again, once the counter's buffers are free.
_PER_POSITIVE = 4 + 4 + 4 + 4 + 3 * 8


@dataclass(frozen=True)
class Bands:
    """The curve by class, coarsely: ordered pairs in bands of equal width, the lowest first, by their scores
    before any rounding.

    floor: similarity at which the first band starts. width: of a band. positives: (C, B) float64, by class.
    negatives: (C, B) float64; a pair counts for both of its classes. all_positives, all_negatives: (C,)
    likewise, those below the floor too.
    """

    floor: float
    width: float
    positives: np.ndarray
    negatives: np.ndarray
    all_positives: np.ndarray
    all_negatives: np.ndarray


@dataclass(frozen=True)
class Counts:
    """What a `Counter` found out about negatives: at or above each edge and equal to it (E,) int64; rivals
    of each positive (P,) int32 (see `cpu_kernels.count_above`)."""

    above: np.ndarray
    ties: np.ndarray
    rivals: np.ndarray


class Counter(Protocol):
    """Scores tiles on one device and counts."""

    def positives(self, start: int, end: int) -> np.ndarray:
        """Scores of the positives of queries [start, end), (P,) float32, each query's ascending."""
        ...

    def negatives(
        self,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        bands: Bands | None,
        progress: Progress,
    ) -> Counts:
        """Counts of the negatives of queries [start, end) that, rounded, are at least edges[0], each pair in
        both orders where the pairs are mirrored and all queries are asked for; adds to `bands.negatives`."""
        ...


@dataclass(frozen=True)
class Scan:
    """What one pass found.

    per_query: name to (Q,) float64 for the queries that have a positive; query_classes: (Q,) int64, their
    classes, as indices of `classes`. classes: (C,) the labels. bands: None unless asked for. unanswerable:
    queries without a positive.
    """

    curve: Curve
    per_query: Mapping[str, np.ndarray]
    query_classes: np.ndarray
    classes: np.ndarray
    bands: Bands | None
    unanswerable: int


def scan(
    pairs: Pairs,
    counter: Counter,
    per_query: Callable[[Ranks], Mapping[str, np.ndarray]],
    *,
    thresholds: Sequence[float] = (),
    sweep: Sequence[float] = (),
    bands: int = 0,
    memory: int = 1 << 28,
    progress: Progress = lambda done, total: None,
) -> Scan:
    """Score all pairs once.

    per_query: turns ranks into values, (Q,) each; called for some queries at a time when memory is short.
    thresholds: similarities at which the curve must be exact besides the positives' own; sweep: likewise,
    but only down to the first that accepts every positive. bands: of `Bands`, 0 for none. memory: bytes for
    all that grows with the number of positive pairs or classes.
    """
    queries = len(pairs.queries)
    exact = pairs.positives * _PER_POSITIVE <= memory
    bands = min(bands, max(16, memory // (4 * 8 * 2 * len(pairs.classes)))) if bands else 0
    if exact:
        panels = [(0, queries)]
        first = counter.positives(0, queries)
        lowest = float(on_grid(first.min()))
        # Below every positive a threshold only adds false pairs and costs a look at every negative: one is
        # enough.
        useful = sorted(sweep, reverse=True)[: sum(each > lowest for each in sweep) + 1]
        edges = _edges(first, [*thresholds, *useful])
    else:
        panels = list(pairs.panels(memory // _PER_POSITIVE))
        lowest = -1.0
        edges = _edges(np.arange(-1, 1 + STEP, STEP), [*thresholds, *sweep])
    by_class = _bands(pairs, lowest - STEP / 2, float(edges[-1]) + STEP / 2, bands) if bands else None
    accepted = np.zeros(len(edges), np.int64)
    above, ties = np.zeros_like(accepted), np.zeros_like(accepted)
    values = []
    for start, end in panels:
        positives = first if exact else counter.positives(start, end)
        counts = counter.negatives(start, end, positives, edges, by_class, progress)
        above += counts.above
        ties += counts.ties
        offsets = pairs.offsets[start : end + 1]
        if by_class is not None:
            _band_positives(by_class, positives, offsets, pairs.queries.labels[start:end])
        for top, bottom in pairs.panels(_RANKED, start, end):
            ranks = _ranks(counts.rivals, pairs.offsets[top : bottom + 1], pairs.offsets[start])
            if len(ranks.ranks):
                values.append(per_query(ranks))
        on_grid(positives, out=positives).sort()
        accepted += len(positives) - np.searchsorted(positives, edges)
    answerable = np.diff(pairs.offsets) > 0
    down: tuple[EllipsisType, slice] = (..., slice(None, None, -1))
    return Scan(
        curve=Curve(
            similarities=edges[down].astype(np.float64),
            accepted=accepted[down],
            false=above[down],
            ties=ties[down],
            positives=np.array(pairs.positives),
            negatives=np.array(pairs.negatives),
            repeated=pairs.repeated_negatives,
        ),
        per_query={name: np.concatenate([each[name] for each in values]) for name in values[0]},
        query_classes=pairs.queries.labels[answerable],
        classes=pairs.classes,
        bands=by_class,
        unanswerable=int((~answerable).sum()),
    )


def _edges(scores: np.ndarray, others: Sequence[float]) -> np.ndarray:
    """Scores, rounded, and other similarities: ascending, distinct, (E,) float32."""
    edges = np.empty(len(scores) + len(others), np.float32)
    on_grid(scores, out=edges[: len(scores)])
    edges[len(scores) :] = others
    edges.sort()
    return edges[np.append(True, edges[1:] != edges[:-1])]


def _bands(pairs: Pairs, floor: float, top: float, count: int) -> Bands:
    shape = (len(pairs.classes), count)
    found = np.bincount(pairs.queries.labels, np.diff(pairs.offsets), minlength=shape[0])
    width = max(top - floor, 1e-6) / count
    return Bands(
        floor, width, np.zeros(shape), np.zeros(shape), found, pairs.negatives_of_classes().astype(float)
    )


def _band_positives(bands: Bands, positives: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> None:
    from mlbench.evaluation.cpu_kernels import band_positives

    floor, scale = np.float32(bands.floor), np.float32(1 / bands.width)
    band_positives(positives, offsets, labels, floor, scale, bands.positives)


def _ranks(rivals: np.ndarray, offsets: np.ndarray, base: int) -> Ranks:
    from mlbench.evaluation.cpu_kernels import ranks_of

    starts = offsets - offsets[0]
    ranks = ranks_of(rivals[offsets[0] - base : offsets[-1] - base], offsets)
    return Ranks(ranks, np.append(starts[:-1][np.diff(starts) > 0], starts[-1]))

"""One pass over all pairs: the verification curve, every query's ranks, and histograms by class.

The score matrix is computed in tiles and never stored. If queries and gallery are the same images, each pair
is scored once. The pass first scores the few tiles that hold positives. With all positives known, it scores
all tiles and only counts the negatives: at each threshold (the scores of the positives) and between the
positives of the query. Scores are rounded before they are compared with a threshold (see
`mlbench.evaluation.similarity_grid`) but not for rankings. Memory grows with the number of positive pairs. If
that exceeds the budget, every grid point becomes a threshold and rankings are made for some queries at a
time.

Tiles have one shape for every budget and number of threads, so neither changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.pair_counter import PairCounter, Progress
from mlbench.evaluation.query_negatives import QueryNegatives
from mlbench.evaluation.query_scores import QueryPositives, QueryScores
from mlbench.evaluation.ranks import Ranks
from mlbench.evaluation.similarity_grid import STEP, on_grid

if TYPE_CHECKING:
    from types import EllipsisType

__all__ = ["PairScan", "scan_pairs"]

#: Positives whose ranks are passed to metrics at a time; metrics need several numbers for each.
_RANKED = 1 << 20

#: Bytes for each ordered positive pair: its score and count of negatives, a copy of both to sort, and its
#: threshold with three counts (the pair in the other order shares it, but need not). Metrics of the curve
#: take as much again, after the counter's buffers are freed.
_PER_POSITIVE = 4 + 4 + 4 + 4 + 3 * 8


@dataclass(frozen=True)
class PairScan:
    """The result of one pass.

    per_query: name to (Q,) float64, for the queries that have a positive. query_classes: (Q,) int64, their
    classes as indices of `classes`. classes: (C,) labels. histograms: None unless requested.
    queries_without_positive: number of the other queries. by_query: of all queries; None unless requested.
    """

    curve: Curve
    per_query: Mapping[str, np.ndarray]
    query_classes: np.ndarray
    classes: np.ndarray
    histograms: ClassHistograms | None
    queries_without_positive: int
    by_query: QueryScores | None = None


def scan_pairs(
    pairs: AllPairs,
    counter: PairCounter,
    per_query: Callable[[Ranks], Mapping[str, np.ndarray]],
    *,
    thresholds: Sequence[float] = (),
    sweep: Sequence[float] = (),
    bins: int = 0,
    accepted_from: float | None = None,
    memory: int = 1 << 28,
    progress: Progress = lambda done, total: None,
) -> PairScan:
    """Score all pairs once.

    per_query: maps ranks to named values, (Q,) each; called for some queries at a time if memory is short.
    thresholds: similarities that the curve includes besides the scores of the positives. sweep: the same, but
    only down to the first that accepts every positive. bins: of the histograms by class, 0 for no histograms.
    accepted_from: the similarity from which pairs of a query are counted in `PairScan.by_query`, None for no
    such result. memory: bytes for everything that grows with the number of positive pairs or classes.
    """
    queries = len(pairs.queries)
    exact = pairs.positives * _PER_POSITIVE <= memory
    bins = min(bins, max(16, memory // (4 * 8 * 2 * len(pairs.classes)))) if bins else 0
    if exact:
        query_ranges = [(0, queries)]
        first = counter.positives(0, queries)
        lowest = float(on_grid(first.min()))
        # A threshold below every positive only adds false positives and makes the counter visit every
        # negative: one is enough.
        useful = sorted(sweep, reverse=True)[: sum(each > lowest for each in sweep) + 1]
        edges = _edges(first, [*thresholds, *useful])
    else:
        query_ranges = list(pairs.query_ranges(memory // _PER_POSITIVE))
        lowest = -1.0
        edges = _edges(np.arange(-1, 1 + STEP, STEP), [*thresholds, *sweep])
    histograms = (
        _empty_histograms(pairs, lowest - STEP / 2, float(edges[-1]) + STEP / 2, bins) if bins else None
    )
    true_positives = np.zeros(len(edges), np.int64)
    false_positives, ties = np.zeros_like(true_positives), np.zeros_like(true_positives)
    by_query = None
    if accepted_from is not None:
        by_query = QueryScores(QueryPositives.empty(queries), QueryNegatives.empty(queries, accepted_from))
    nearest = None if by_query is None else by_query.negatives
    values = []
    for start, end in query_ranges:
        positives = first if exact else counter.positives(start, end)
        counts = counter.negatives(start, end, positives, edges, histograms, progress, nearest)
        false_positives += counts.above
        ties += counts.ties
        if histograms is not None:
            offsets = pairs.offsets[start : end + 1]
            _add_positives(histograms, positives, offsets, pairs.queries.labels[start:end])
        for top, bottom in pairs.query_ranges(_RANKED, start, end):
            offsets = pairs.offsets[top : bottom + 1]
            ranks = _ranks(counts.between, offsets, pairs.offsets[start])
            if len(ranks.ranks):
                values.append(per_query(ranks))
                if by_query is not None:
                    first_place, last = offsets[[0, -1]] - pairs.offsets[start]
                    found = positives[first_place:last], offsets, ranks.best
                    by_query.positives.add(top, *found, by_query.negatives.threshold)
        on_grid(positives, out=positives).sort()
        true_positives += len(positives) - np.searchsorted(positives, edges)
    has_positive = np.diff(pairs.offsets) > 0
    down: tuple[EllipsisType, slice] = (..., slice(None, None, -1))
    return PairScan(
        curve=Curve(
            similarities=edges[down].astype(np.float64),
            true_positives=true_positives[down],
            false_positives=false_positives[down],
            ties=ties[down],
            positives=np.array(pairs.positives),
            negatives=np.array(pairs.negatives),
            repeated=pairs.repeated_negatives,
        ),
        per_query={name: np.concatenate([each[name] for each in values]) for name in values[0]},
        query_classes=pairs.queries.labels[has_positive],
        classes=pairs.classes,
        histograms=histograms,
        queries_without_positive=int((~has_positive).sum()),
        by_query=by_query,
    )


def _edges(scores: np.ndarray, others: Sequence[float]) -> np.ndarray:
    """Rounded scores and other similarities: ascending, distinct, (E,) float32."""
    edges = np.empty(len(scores) + len(others), np.float32)
    on_grid(scores, out=edges[: len(scores)])
    edges[len(scores) :] = others
    edges.sort()
    return edges[np.append(True, edges[1:] != edges[:-1])]


def _empty_histograms(pairs: AllPairs, floor: float, top: float, bins: int) -> ClassHistograms:
    shape = (len(pairs.classes), bins)
    positives = np.bincount(pairs.queries.labels, np.diff(pairs.offsets), minlength=shape[0])
    width = max(top - floor, 1e-6) / bins
    return ClassHistograms(
        floor, width, np.zeros(shape), np.zeros(shape), positives, pairs.negatives_by_class().astype(float)
    )


def _add_positives(
    histograms: ClassHistograms, positives: np.ndarray, offsets: np.ndarray, labels: np.ndarray
) -> None:
    from mlbench.evaluation.cpu_kernels import count_positive_histograms

    floor, scale = np.float32(histograms.floor), np.float32(1 / histograms.width)
    count_positive_histograms(positives, offsets, labels, floor, scale, histograms.positives)


def _ranks(between: np.ndarray, offsets: np.ndarray, base: int) -> Ranks:
    from mlbench.evaluation.cpu_kernels import ranks_from_counts

    starts = offsets - offsets[0]
    ranks = ranks_from_counts(between[offsets[0] - base : offsets[-1] - base], offsets)
    return Ranks(ranks, np.append(starts[:-1][np.diff(starts) > 0], starts[-1]))

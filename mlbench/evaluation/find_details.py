"""The details of an evaluation, from a scan of all pairs and a search of a few queries."""

from __future__ import annotations

import numpy as np

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.detail_tables import (
    NEAR,
    Classes,
    Confusions,
    Histogram,
    ImageMap,
    Neighbours,
    Pairs,
    Sweep,
)
from mlbench.evaluation.details import Details
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.gallery_search import (
    Hits,
    NearestImages,
    NegativeHistogram,
    SimilarNegatives,
    search_gallery,
)
from mlbench.evaluation.image_map import MAPPED, map_images
from mlbench.evaluation.pair_scan import PairScan
from mlbench.evaluation.positive_pairs import extreme_positives
from mlbench.evaluation.query_scores import QueryScores
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.evaluation.threshold import Threshold

__all__ = ["NEAR_ON_GRID", "find_details"]

#: Rows of each table of details, at most.
_WORST, _HARDEST, _NEAR, _CONFUSED, _POINTS = 200, 100, 200, 100, 400

#: Queries whose negatives stand for those of all below the lowest positive.
_SAMPLED = 112

#: Edges of the histogram: cosine similarities in steps of .02, which are thresholds of the sweep.
_EDGES = np.array([float(on_grid(step / 50 - 1)) for step in range(101)])

#: `NEAR` as a threshold.
NEAR_ON_GRID = float(on_grid(NEAR))


def find_details(
    embeddings: Embeddings,
    pairs: AllPairs,
    scan: PairScan,
    threshold: Threshold,
    engine: Engine,
    generator: np.random.Generator,
) -> Details:
    """The details, with the labels as names of the classes.

    scan: of the pairs, with a threshold at `NEAR` and with results by query at the fitted threshold.
    generator: for the samples of the histogram and of the map.
    """
    by_query = scan.by_query
    assert by_query is not None
    queries = pairs.queries
    ascending = np.argsort(queries.images)
    worst = _worst(by_query, queries.images)
    exact_from = _exact_from(scan.curve)
    some = np.sort(generator.permutation(len(queries))[:_SAMPLED])
    sampled = some if exact_from > _EDGES[0] else some[:0]
    nearest, histogram = NearestImages(worst), NegativeHistogram(sampled, _EDGES)
    negatives = _similar_negatives(pairs, by_query)
    search_gallery(pairs, engine, nearest, histogram, negatives)
    similar = negatives.result()
    return Details(
        split=embeddings.name,
        images=len(embeddings),
        gallery=embeddings.gallery_name or embeddings.name,
        queries=queries.images[ascending].astype(np.int32),
        rank=by_query.positives.rank[ascending].astype(np.int32),
        worst=_neighbours(pairs, by_query, nearest),
        hardest_positives=_hardest_positives(pairs, by_query),
        hardest_negatives=_pairs(pairs, similar, _HARDEST, _number(pairs, pairs.negatives), same=False),
        near=_near(pairs, scan.curve, by_query, similar),
        confused=_confused(pairs, by_query),
        classes=_classes(embeddings, pairs, by_query, threshold),
        sweep=_sweep(scan.curve, threshold),
        histogram=_histogram(scan.curve, exact_from, histogram.counts),
        map=_map(embeddings, pairs, generator),
        sampled=len(sampled) or len(queries),
    )


def _worst(by_query: QueryScores, images: np.ndarray) -> np.ndarray:
    """Places of the worst queries, ascending."""
    wrong = np.flatnonzero(by_query.positives.rank > 1)
    return np.sort(wrong[np.lexsort((images[wrong], _margins(by_query)[wrong]))][:_WORST])


def _margins(by_query: QueryScores) -> np.ndarray:
    """Similarity of the nearest positive less that of the nearest negative, (Q,) float32."""
    margins: np.ndarray = by_query.positives.highest - by_query.negatives.similarity
    return margins


def _neighbours(pairs: AllPairs, by_query: QueryScores, nearest: NearestImages) -> Neighbours:
    """The neighbours of the worst queries, the worst first."""
    place, similarity, same, right, right_similarity = nearest.result()
    order = np.lexsort((pairs.queries.images[nearest.rows], _margins(by_query)[nearest.rows]))
    rows, images = nearest.rows[order], pairs.gallery.images
    return Neighbours(
        query=pairs.queries.images[rows].astype(np.int32),
        nearest=np.where(place >= 0, images[place], -1)[order].astype(np.int32),
        similarity=similarity[order],
        same=same[order],
        right=images[right][order].astype(np.int32),
        right_similarity=right_similarity[order],
        right_rank=by_query.positives.rank[rows].astype(np.int32),
    )


def _extreme_rows(
    values: np.ndarray, known: np.ndarray, pairs: AllPairs, most: int
) -> tuple[np.ndarray, float]:
    """Places of the queries that together hold the `most` pairs with the lowest values, and the value that no
    such pair exceeds.

    values: (Q,), the lowest of each query's pairs. known: (Q,) bool, whether it has one."""
    rows = np.flatnonzero(known)
    # So many queries have `most` different pairs among their lowest; fewer queries may have more each.
    count = 2 * most if pairs.mirrored else most
    rows = rows[np.argsort(values[rows], kind="stable")][:count]
    # Half a step more: the search may round a score otherwise than the scan did.
    bound = float(values[rows[-1]]) + STEP / 2 if len(rows) == count else np.inf
    return np.sort(rows), bound


def _similar_negatives(pairs: AllPairs, by_query: QueryScores) -> SimilarNegatives:
    """A search for the most similar negatives of all."""
    dissimilarity, known = -by_query.negatives.similarity, by_query.negatives.place >= 0
    near = known & (dissimilarity <= STEP - NEAR_ON_GRID)
    rows, bound = _extreme_rows(dissimilarity, known, pairs, _HARDEST)
    near_rows, near_bound = _extreme_rows(dissimilarity, near, pairs, _NEAR)
    bound = max(bound, min(near_bound, STEP - NEAR_ON_GRID))
    return SimilarNegatives(np.union1d(rows, near_rows), -bound, _NEAR, once=pairs.mirrored)


def _hardest_positives(pairs: AllPairs, by_query: QueryScores) -> Pairs:
    lowest = by_query.positives.lowest
    rows, bound = _extreme_rows(lowest, by_query.positives.rank > 0, pairs, _HARDEST)
    hits = extreme_positives(pairs, rows, bound, _HARDEST, most_similar=False)
    return _pairs(pairs, hits, _HARDEST, _number(pairs, pairs.positives), same=True)


def _near(pairs: AllPairs, curve: Curve, by_query: QueryScores, negatives: Hits) -> Pairs:
    """The most similar pairs of all, from `NEAR`."""
    at = int(np.searchsorted(-curve.similarities, -NEAR_ON_GRID))
    positives, others = int(curve.true_positives[at]), int(curve.false_positives[at])
    found, same = negatives, np.zeros(len(negatives.query), bool)
    if positives:
        highest = by_query.positives.highest
        rows, bound = _extreme_rows(-highest, highest >= NEAR_ON_GRID - STEP, pairs, _NEAR)
        from_similarity = max(-bound, NEAR_ON_GRID - STEP)
        hits = extreme_positives(pairs, rows, from_similarity, _NEAR, most_similar=True)
        found = Hits(*map(np.concatenate, zip(found, hits, strict=True)))
        same = np.append(same, np.ones(len(hits.query), bool))
    accepted = on_grid(found.similarity) >= NEAR_ON_GRID
    found, same = Hits(*(each[accepted] for each in found)), same[accepted]
    order = np.lexsort((found.image, found.query, -found.similarity))[:_NEAR]
    total = _number(pairs, positives + others)
    return _pairs(pairs, Hits(*(each[order] for each in found)), _NEAR, total, same=same[order])


def _number(pairs: AllPairs, ordered: int) -> int:
    """Number of pairs as `Pairs` counts them, from that of ordered pairs."""
    return ordered // 2 if pairs.mirrored else ordered


def _pairs(pairs: AllPairs, hits: Hits, most: int, total: int, *, same: np.ndarray | bool) -> Pairs:
    """The first pairs by their images."""
    a, b = pairs.queries.images[hits.query[:most]], pairs.gallery.images[hits.image[:most]]
    if pairs.mirrored:
        a, b = np.minimum(a, b), np.maximum(a, b)
    known = np.broadcast_to(np.asarray(same, bool), a.shape)
    return Pairs(a.astype(np.int32), b.astype(np.int32), hits.similarity[:most], known, total)


def _confused(pairs: AllPairs, by_query: QueryScores) -> Confusions:
    wrong = by_query.positives.rank > 1
    a, b = pairs.queries.labels[wrong], pairs.gallery.labels[by_query.negatives.place[wrong]]
    both, count = np.unique(a * len(pairs.classes) + b, return_counts=True)
    order = np.argsort(-count, kind="stable")[:_CONFUSED]
    a, b = np.divmod(both[order], len(pairs.classes))
    return Confusions(*(each.astype(np.int32) for each in (a, b, count[order])))


def _classes(embeddings: Embeddings, pairs: AllPairs, by_query: QueryScores, threshold: Threshold) -> Classes:
    positives, negatives, labels = by_query.positives, by_query.negatives, pairs.queries.labels
    count = len(pairs.classes)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(labels, values, count)

    members = embeddings.queries | embeddings.gallery
    images = np.bincount(np.searchsorted(pairs.classes, embeddings.labels[members]), minlength=count)
    queries, hits, true = total(positives.rank > 0), total(positives.rank == 1), total(positives.accepted)
    of_class = total(np.diff(pairs.offsets))
    with np.errstate(invalid="ignore"):
        recall = hits / queries
        f1 = 2 * true / np.where(of_class > 0, true + total(negatives.accepted) + of_class, np.nan)
    if threshold.similarity is None:
        f1[:] = np.nan
    numbers = pairs.classes.dtype.kind in "biu"
    return Classes(
        names=tuple(map(str, pairs.classes)),
        label=pairs.classes.astype(np.int64) if numbers else np.arange(count),
        images=images.astype(np.int32),
        queries=queries.astype(np.int32),
        recall_at_1=recall.astype(np.float32),
        f1=f1.astype(np.float32),
    )


def _sweep(curve: Curve, threshold: Threshold) -> Sweep:
    """Points of the curve: the fitted threshold, those in steps of .01, others at even steps of recall."""
    at = _thresholds(curve, on_grid(1 - np.arange(201) / 100))
    # As in the record: down to the first that accepts every positive pair.
    at = at[: int((curve.true_positives[at] < curve.positives).sum()) + 1]
    fitted = threshold.distance if threshold.scanned else None
    at = np.append(at, _thresholds(curve, np.array(threshold.scanned)))
    hits = np.linspace(0, int(curve.positives), _POINTS - len(np.unique(at)))
    by_recall = np.searchsorted(curve.true_positives, hits)
    at = np.unique(np.concatenate([at, by_recall]))
    return Sweep(
        distance=curve.distances[at],
        true_positives=curve.true_positives[at],
        false_positives=curve.false_positives[at],
        positives=int(curve.positives),
        negatives=int(curve.negatives),
        fitted=fitted,
    )


def _thresholds(curve: Curve, similarities: np.ndarray) -> np.ndarray:
    """Positions in the curve of those similarities that are thresholds of it."""
    at = np.searchsorted(-curve.similarities, -similarities)
    at = at[at < len(curve.similarities)]
    return at[np.isin(curve.similarities[at], similarities)]


def _exact_from(curve: Curve) -> float:
    """The edge of the histogram from which all edges are thresholds of the curve."""
    lacking = np.flatnonzero(~np.isin(_EDGES, curve.similarities))
    return float(_EDGES[lacking[-1] + 1 if len(lacking) else 0])


def _histogram(curve: Curve, exact_from: float, sampled: np.ndarray) -> Histogram:
    """sampled: (B,) numbers of the negatives of some queries."""
    known = len(curve.similarities) - np.searchsorted(curve.similarities[::-1], _EDGES)
    accepted, false = (np.append(0, each)[known] for each in (curve.true_positives, curve.false_positives))
    first = int(np.searchsorted(_EDGES, exact_from))
    shares = sampled[:first] if sampled[:first].any() else np.arange(first) == first - 1
    below = np.cumsum(shares[::-1])[::-1]  # from each edge to the last inexact one
    rest = int(curve.negatives - false[first])
    if first:
        false[:first] = false[first] + np.rint(rest * (below / below[0])).astype(np.int64)
    accepted[0], false[0] = curve.positives, curve.negatives
    accepted[-1] = false[-1] = 0  # similarities of 1 are in the last bin
    return Histogram(_EDGES, -np.diff(accepted), -np.diff(false), exact_from)


def _map(embeddings: Embeddings, pairs: AllPairs, generator: np.random.Generator) -> ImageMap:
    members = np.flatnonzero(embeddings.queries | embeddings.gallery)
    index = np.sort(members[generator.permutation(len(members))[:MAPPED]])
    norms = np.empty(len(embeddings))
    for each in (pairs.queries, pairs.gallery):
        norms[each.images] = each.norms
    label = np.searchsorted(pairs.classes, embeddings.labels[index])
    return map_images(embeddings.vectors, norms[index], index, label)

"""Evaluation: every metric of embeddings, with the threshold that was fitted elsewhere and intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.contracts import CurveMetric, EmbeddingMetric, Quantity, RankMetric, ThresholdPolicy
from mlbench.environment import usable_cores
from mlbench.errors import ComponentError
from mlbench.evaluation.bootstrap import Bootstrap, banded_curve
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.embeddings import Embeddings, collapse, lengths, mean_similarity
from mlbench.evaluation.pairs import Pairs, all_pairs
from mlbench.evaluation.protocol import described, is_grouped
from mlbench.evaluation.ranks import Ranks
from mlbench.evaluation.scan import Counter, Products, Progress, Scan, scan
from mlbench.evaluation.similarity import STEP, on_grid
from mlbench.evaluation.threshold import (
    Calibration,
    Threshold,
    fit_threshold,
    outcome,
    remarks_on,
    with_interval,
)
from mlbench.records.record import THRESHOLD, Estimate

__all__ = ["Engine", "Evaluation", "Measure", "as_estimate", "calibrate", "evaluate", "verification_curve"]

#: Bands of similarity in which pairs are counted by class, for intervals.
_BANDS = 256

#: Thresholds of the published sweep: cosine distances by .01, as similarities.
_SWEEP = tuple(float(on_grid(1 - step / 100)) for step in range(201))


@dataclass(frozen=True)
class Engine:
    """How pairs are scored and metrics resampled.

    memory: bytes above the embeddings. resamples: of the bootstrap, 0 for no intervals. level: of intervals.
    threads: None for all cores.
    """

    memory: int = 512 << 20
    products: Products = "float32"
    resamples: int = 1000
    level: float = 0.95
    threads: int | None = None
    progress: Progress = lambda done, total: None

    def counter(self, pairs: Pairs) -> Counter:
        """What scores tiles where the embeddings are."""
        if isinstance(pairs.queries.vectors, np.ndarray):
            from mlbench.evaluation.counting import CpuCounter

            threads = self.threads or usable_cores()
            return CpuCounter(pairs, threads=threads, products=self.products, memory=self.memory // 2)
        from mlbench.evaluation.counting_torch import TorchCounter

        return TorchCounter(pairs, products=self.products)


@dataclass(frozen=True)
class Measure:
    """A metric and what it said it would measure, by name."""

    metric: RankMetric | CurveMetric | EmbeddingMetric
    quantities: Mapping[str, Quantity]


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one split.

    metrics: by name, the threshold first, then in the order of the measures. threshold: with remarks on what
    it does here. facts: plain data about how many of what were compared and how. sweep: columns "distance",
    "true_positives", "false_positives" for thresholds by .01, until every positive pair is accepted.
    by_class: name to (C,) means over the class's queries, not a number for a class without one;
    queries_by_class: (C,) how many those are. classes: (C,) labels. curve: exact, over all pairs. name: of
    the embeddings.
    """

    metrics: Mapping[str, Estimate]
    threshold: Threshold
    facts: Mapping[str, Any]
    sweep: Mapping[str, list[Any]]
    by_class: Mapping[str, np.ndarray]
    classes: np.ndarray
    queries_by_class: np.ndarray
    curve: Curve
    name: str

    @property
    def notes(self) -> list[str]:
        """What a reader should know, one line each."""
        notes = []
        if without := self.facts["queries_without_positive"]:
            single, protocol = self.facts["single_image_classes"], self.facts["protocol"]
            other, which = "other image", f"{single:,} classes have a single image"
            if not single:
                other, which = "image", "the gallery has none"
            if protocol["gallery"] != protocol["queries"]:
                other, which = "image", f"the gallery is {protocol['gallery']}"
            outside = " and of another group" if protocol["grouped"] else ""
            notes.append(
                f"{without:,} of {self.facts['queries']:,} queries have no {other} of their class{outside} "
                f"to find and are left out of retrieval ({which})"
            )
        if self.threshold.similarity is None:
            notes.append(f"no threshold: {self.threshold.note}")
        if collapsed := collapse(self.facts["mean_similarity"], self.name):
            notes.append(collapsed)
        return [*notes, *self.threshold.remarks.values()]

    def classes_csv(self, names: Sequence[str]) -> str:
        """A CSV table with a row a class: its name, its queries that have a positive, and their means."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "queries", *self.by_class])
        for at, name in enumerate(names):
            means = [column[at] for column in self.by_class.values()]
            cells = ["" if np.isnan(mean) else f"{mean:.6g}" for mean in means]
            writer.writerow([name, int(self.queries_by_class[at]), *cells])
        return text.getvalue()

    def plain(self) -> dict[str, Any]:
        """What a record keeps besides the metrics."""
        return {"threshold": self.threshold.plain(), **self.facts, "sweep": self.sweep}


def evaluate(
    embeddings: Embeddings,
    threshold: Threshold,
    measures: Sequence[Measure],
    generator: np.random.Generator,
    engine: Engine,
) -> Evaluation:
    """Measure embeddings in one pass over all their pairs.

    threshold: fitted on other embeddings (see `fit_threshold`). generator: draws the resamples. Raises
    DataError for embeddings that cannot be compared, ComponentError for a metric that measures what it has
    not announced.
    """
    pairs = _pairs(embeddings)
    ranked = [each for each in measures if isinstance(each.metric, RankMetric)]

    def per_query(ranks: Ranks) -> Mapping[str, np.ndarray]:
        values = _joined(
            each.metric.per_query(ranks) for each in ranked if isinstance(each.metric, RankMetric)
        )
        return {name: _numbers(name, each, ranks.counts.shape) for name, each in values.items()}

    found = scan(
        pairs,
        engine.counter(pairs),
        per_query,
        thresholds=() if threshold.similarity is None else (threshold.similarity,),
        sweep=_SWEEP,
        bands=_BANDS if engine.resamples else 0,
        memory=engine.memory // 2,
        progress=engine.progress,
    )
    bootstrap = Bootstrap(len(pairs.classes), engine.resamples, engine.level, generator)
    estimates = _rank_estimates(found, bootstrap)
    for measure in measures:
        if isinstance(measure.metric, CurveMetric):
            estimates |= _curve_estimates(measure.metric, found, threshold, bootstrap)
        if isinstance(measure.metric, EmbeddingMetric):
            plain = measure.metric.of_embeddings(embeddings)
            estimates |= {name: as_estimate(name, value) for name, value in plain.items()}
    return Evaluation(
        metrics={THRESHOLD: threshold.estimate, **_announced(estimates, measures)},
        threshold=_remarked(threshold, found, bootstrap, embeddings.name),
        facts=_facts(embeddings, pairs, found, engine),
        sweep=_sweep(found.curve),
        by_class=_by_class(found),
        queries_by_class=np.bincount(found.query_classes, minlength=len(found.classes)),
        classes=found.classes,
        curve=found.curve,
        name=embeddings.name,
    )


def verification_curve(embeddings: Embeddings, engine: Engine) -> Curve:
    """The curve over all pairs of the embeddings. Raises DataError as `evaluate` does."""
    return _verified(_pairs(embeddings), engine).curve


def calibrate(
    policy: ThresholdPolicy, embeddings: Embeddings, engine: Engine, generator: np.random.Generator
) -> Threshold:
    """The threshold that a policy chooses on all pairs of the embeddings, with its interval where the engine
    resamples. generator: draws the resamples. Raises DataError as `evaluate` does, ComponentError as
    `fit_threshold`."""
    pairs = _pairs(embeddings)
    found = _verified(pairs, engine, bands=_BANDS if engine.resamples else 0)
    counted = Calibration(
        len(np.unique(pairs.queries.labels)),
        pairs.positives - pairs.repeated_positives,
        found.curve.distinct_negatives,
    )
    threshold = replace(fit_threshold(policy, found.curve), calibration=counted)
    if found.bands is None:
        return threshold
    repeated = pairs.repeated_negatives / pairs.negatives
    bootstrap = Bootstrap(len(pairs.classes), engine.resamples, engine.level, generator)
    return with_interval(threshold, policy, found.bands, repeated, bootstrap)


def _verified(pairs: Pairs, engine: Engine, bands: int = 0) -> Scan:
    """One pass that looks at no ranking."""
    return scan(
        pairs,
        engine.counter(pairs),
        lambda ranks: {},
        bands=bands,
        memory=engine.memory // 2,
        progress=engine.progress,
    )


def _pairs(embeddings: Embeddings) -> Pairs:
    return all_pairs(
        embeddings.vectors,
        lengths(embeddings),
        embeddings.labels,
        embeddings.queries,
        embeddings.gallery,
        embeddings.name,
        embeddings.groups,
    )


def _joined(mappings: Any) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for mapping in mappings:
        joined |= mapping
    return joined


def _rank_estimates(found: Scan, bootstrap: Bootstrap) -> dict[str, Estimate]:
    names = list(found.per_query)
    if not names:
        return {}
    values = np.stack([np.asarray(found.per_query[name], np.float64) for name in names], axis=1)
    means = values.mean(0)
    resampled = bootstrap.means(values, found.query_classes) if bootstrap.resamples else None
    return {
        name: as_estimate(
            name, means[at], None if resampled is None else (bootstrap, means[at], resampled[:, at])
        )
        for at, name in enumerate(names)
    }


def _curve_estimates(
    metric: CurveMetric, found: Scan, threshold: Threshold, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    similarity = threshold.similarity
    values = metric.of_curve(found.curve, similarity)
    if found.bands is None:
        return {name: as_estimate(name, value) for name, value in values.items()}
    # The bands are coarse: what counts is how resamples deviate from the estimate by the same bands.
    centre = metric.of_curve(banded_curve(found.bands), similarity)
    # A resample of few classes may have no positive or no negative pair; its values are not numbers.
    with np.errstate(invalid="ignore", divide="ignore"):
        chunks = [metric.of_curve(curve, similarity) for curve in bootstrap.curves(found.bands)]
    estimates = {}
    for name, value in values.items():
        spread = None
        if np.ndim(chunks[0][name]) == 1:
            resampled = np.concatenate([_numbers(name, chunk[name]) for chunk in chunks])
            spread = bootstrap, float(np.asarray(centre[name])[0]), resampled
        estimates[name] = as_estimate(name, value, spread)
    return estimates


class _Outcome:
    """What tells whether a threshold is good, as a metric."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold

    def of_curve(self, curve: Curve, threshold: float | None) -> dict[str, np.ndarray]:
        return {"outcome": outcome(curve, self._threshold)}


def _remarked(threshold: Threshold, found: Scan, bootstrap: Bootstrap, split: str) -> Threshold:
    """The threshold with remarks on what it does on these pairs."""
    if threshold.similarity is None or (threshold.target is None and threshold.low is None):
        return threshold
    estimate = _curve_estimates(_Outcome(threshold), found, threshold, bootstrap)["outcome"]
    return replace(threshold, remarks=remarks_on(threshold, found.curve, estimate, split))


def as_estimate(name: str, value: Any, spread: tuple[Bootstrap, float, np.ndarray] | None = None) -> Estimate:
    """What a metric gave, a number or a text that says why there is none. spread: what its interval comes
    from. Raises ComponentError for anything else."""
    if isinstance(value, str):
        return Estimate(None, note=value)
    number = float(_numbers(name, value, ()))
    if not np.isfinite(number):
        return Estimate(None, note="not a number")
    if spread is None:
        return Estimate(number)
    bootstrap, centre, resampled = spread
    interval = bootstrap.interval(number, centre, resampled)
    return Estimate(number) if interval is None else Estimate(number, *interval)


def _numbers(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """What a metric gave as float64. Raises ComponentError for what is no number or has another shape."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = None
    if found is None or values is None:
        raise ComponentError(f"metric {name!r} is {values!r}; expected a number, or a text that says why not")
    if shape is not None and found.shape != shape:
        raise ComponentError(f"metric {name!r} has shape {found.shape}; expected {shape}")
    return found


def _announced(estimates: Mapping[str, Estimate], measures: Sequence[Measure]) -> dict[str, Estimate]:
    """The estimates in the order in which they were announced, with the fields that were announced."""
    announced = _joined(measure.quantities for measure in measures)
    if announced.keys() != estimates.keys():
        names = ", ".join(sorted(announced.keys() ^ estimates.keys()))
        raise ComponentError(f"metrics must measure what they announce, and only that; not so for: {names}")
    return {name: estimates[name].announced(quantity) for name, quantity in announced.items()}


def _facts(embeddings: Embeddings, pairs: Pairs, found: Scan, engine: Engine) -> dict[str, Any]:
    asks_or_found = embeddings.queries | embeddings.gallery
    sizes = np.unique(embeddings.labels[asks_or_found], return_counts=True)[1]
    grouped = ", nor with one of its class and group" if is_grouped(embeddings) else ""
    facts: dict[str, Any] = {
        "protocol": {
            "queries": embeddings.name,
            "gallery": embeddings.searched or embeddings.name,
            "grouped": is_grouped(embeddings),
            "text": described(embeddings),
        },
        "images": int(asks_or_found.sum()),
        "classes": len(pairs.classes),
        "single_image_classes": int((sizes == 1).sum()),
        "queries": len(pairs.queries),
        "queries_without_positive": found.unanswerable,
        "gallery": len(pairs.gallery),
        "mean_similarity": mean_similarity(embeddings),
        "positive_pairs": pairs.positives,
        "negative_pairs": pairs.negatives,
        "pairs": f"ordered (query, gallery image), an image never with itself{grouped}",
        "ties": "in rankings a negative stands before a positive of equal similarity",
        "threshold_resolution": STEP,
        "products": engine.products,
    }
    if engine.products != "float32":
        facts["products_difference"] = _difference(pairs, engine.products)
    if engine.resamples:
        facts["intervals"] = {
            "method": "bootstrap over classes, first-order projection for pairs",
            "level": engine.level,
            "resamples": engine.resamples,
        }
    return facts


def _difference(pairs: Pairs, products: Products) -> float:
    """Largest difference in similarity that rounding makes, over the pairs of the first 512 queries."""
    from mlbench.evaluation.counting import rounded

    side = pairs.queries
    rows = side.vectors[side.images[:512]]
    rows = (rows if isinstance(rows, np.ndarray) else rows.cpu().double().numpy()).astype(np.float64)
    rows /= side.norms[:512, None]
    coarse = rounded(rows.astype(np.float32), products).astype(np.float64)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
    return float(np.abs(rows @ rows.T - coarse @ coarse.T).max())


def _sweep(curve: Curve) -> dict[str, list[Any]]:
    # These thresholds are among the curve's, down to the first that accepts every positive pair.
    at = np.searchsorted(-curve.similarities, -np.array(_SWEEP))
    at = at[at < len(curve.similarities)]
    at = at[: int((curve.accepted[at] < curve.positives).sum()) + 1]
    return {
        "distance": [step / 100 for step in range(len(at))],
        "true_positives": curve.accepted[at].tolist(),
        "false_positives": curve.false[at].tolist(),
    }


def _by_class(found: Scan) -> dict[str, np.ndarray]:
    count = np.bincount(found.query_classes, minlength=len(found.classes))
    with np.errstate(invalid="ignore"):
        return {
            name: np.bincount(found.query_classes, values, len(found.classes)) / count
            for name, values in found.per_query.items()
        }

"""Evaluation of embeddings over all their pairs, at a threshold that was fitted on other embeddings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.contracts import ACCEPT_NOTHING
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.bootstrap import Bootstrap
from mlbench.evaluation.curve import Curve
from mlbench.evaluation.details import Details
from mlbench.evaluation.embedding_estimates import NOT_A_NUMBER
from mlbench.evaluation.embeddings import Embeddings, collapse_note, mean_similarity
from mlbench.evaluation.engine import Engine
from mlbench.evaluation.estimates import BuiltMetric, curve_estimates, estimate_metrics, per_query_values
from mlbench.evaluation.find_details import NEAR_ON_GRID, find_details
from mlbench.evaluation.pair_scan import PairScan
from mlbench.evaluation.products import Products, round_for_products
from mlbench.evaluation.protocol import describe_protocol, has_groups
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.evaluation.threshold import Threshold, remarks_on, target_value
from mlbench.records.record import THRESHOLD, Estimate

__all__ = ["AllPairsEvaluation", "evaluate_all_pairs"]

#: Thresholds of the sweep in a record: cosine distances in steps of .01, as similarities.
_SWEEP = tuple(float(on_grid(1 - step / 100)) for step in range(201))


@dataclass(frozen=True)
class AllPairsEvaluation:
    """The result of an evaluation over all pairs.

    metrics: by name, the threshold first, then in the order of the metrics. threshold: with remarks on its
    result here. facts: plain data on the images, pairs and settings. sweep: columns "distance",
    "true_positives", "false_positives" for thresholds in steps of .01, down to the first that accepts every
    positive pair. by_class: name to (C,) means over the queries of each class, NaN for a class without a
    query. queries_by_class: (C,) numbers of these queries. classes: (C,) labels. curve: exact. name: of the
    embeddings. details: None unless requested.
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
    details: Details | None = None

    @property
    def notes(self) -> list[str]:
        """Notes for the reader of the metrics, one line each."""
        notes = []
        if without := self.facts["queries_without_positive"]:
            single, protocol = self.facts["single_image_classes"], self.facts["protocol"]
            other, reason = "other image", f"{single:,} classes have a single image"
            if not single:
                other, reason = "image", "the gallery has none"
            if protocol["gallery"] != protocol["queries"]:
                other, reason = "image", f"the gallery is {protocol['gallery']}"
            outside = " and of another group" if protocol["grouped"] else ""
            notes.append(
                f"{without:,} of {self.facts['queries']:,} queries have no {other} of their class{outside} "
                f"to find and are left out of retrieval ({reason})"
            )
        if self.threshold.similarity is None:
            notes.append(f"no threshold: {self.threshold.note}")
        notes += [
            f"{name} has no value: {each.note}"
            for name, each in self.metrics.items()
            if each.note.startswith(NOT_A_NUMBER)
        ]
        if collapsed := collapse_note(self.facts["mean_similarity"], self.name):
            notes.append(collapsed)
        return [*notes, *self.threshold.remarks.values()]

    def classes_csv(self, names: Sequence[str]) -> str:
        """A CSV table with a row for each class: its name, number of queries with a positive, and their
        means."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "queries", *self.by_class])
        for at, name in enumerate(names):
            means = [column[at] for column in self.by_class.values()]
            cells = ["" if np.isnan(mean) else f"{mean:.6g}" for mean in means]
            writer.writerow([name, int(self.queries_by_class[at]), *cells])
        return text.getvalue()

    def plain(self) -> dict[str, Any]:
        """Everything that a record stores besides the metrics, as plain data."""
        return {"threshold": self.threshold.plain(), **self.facts, "sweep": self.sweep}


def evaluate_all_pairs(
    embeddings: Embeddings,
    threshold: Threshold,
    metrics: Sequence[BuiltMetric],
    generator: np.random.Generator,
    engine: Engine,
    details: np.random.Generator | None = None,
) -> AllPairsEvaluation:
    """Evaluate all metrics in one pass over all pairs of the embeddings.

    threshold: fitted on other embeddings (see `calibrate`). generator: for the resamples. details: for the
    samples of the details, None for no details. Raises DataError as `AllPairs.of`, ComponentError as
    `estimate_metrics`.
    """
    pairs = AllPairs.of(embeddings)
    scan = engine.scan(
        pairs,
        lambda ranks: per_query_values(metrics, ranks),
        thresholds=threshold.scanned if details is None else (*threshold.scanned, NEAR_ON_GRID),
        sweep=_SWEEP,
        histograms=True,
        accepted_from=None if details is None else _accepted_from(threshold),
    )
    bootstrap = Bootstrap(len(pairs.classes), engine.resamples, engine.level, generator)
    return AllPairsEvaluation(
        metrics={
            THRESHOLD: threshold.estimate,
            **estimate_metrics(metrics, embeddings, scan, threshold, bootstrap),
        },
        threshold=_with_remarks(threshold, scan, bootstrap, embeddings.name),
        facts=_facts(embeddings, pairs, scan, engine),
        sweep=_sweep(scan.curve),
        by_class=_means_by_class(scan),
        queries_by_class=np.bincount(scan.query_classes, minlength=len(scan.classes)),
        classes=scan.classes,
        curve=scan.curve,
        name=embeddings.name,
        details=(
            None if details is None else find_details(embeddings, pairs, scan, threshold, engine, details)
        ),
    )


def _accepted_from(threshold: Threshold) -> float:
    return ACCEPT_NOTHING if threshold.similarity is None else threshold.similarity


def _with_remarks(threshold: Threshold, scan: PairScan, bootstrap: Bootstrap, split: str) -> Threshold:
    """The threshold with remarks on its result on these pairs."""
    similarity = threshold.similarity
    if similarity is None or (threshold.target is None and threshold.low is None):
        return threshold
    estimates = curve_estimates(
        lambda curve, _: {"target": target_value(curve, similarity, threshold.target)},
        scan,
        similarity,
        bootstrap,
    )
    return replace(threshold, remarks=remarks_on(threshold, scan.curve, estimates["target"], split))


def _facts(embeddings: Embeddings, pairs: AllPairs, scan: PairScan, engine: Engine) -> dict[str, Any]:
    members = embeddings.queries | embeddings.gallery
    sizes = np.unique(embeddings.labels[members], return_counts=True)[1]
    grouped = has_groups(embeddings)
    same_group = ", nor with one of its class and group" if grouped else ""
    facts: dict[str, Any] = {
        "protocol": {
            "queries": embeddings.name,
            "gallery": embeddings.gallery_name or embeddings.name,
            "grouped": grouped,
            "text": describe_protocol(embeddings),
        },
        "images": int(members.sum()),
        "classes": len(pairs.classes),
        "single_image_classes": int((sizes == 1).sum()),
        "queries": len(pairs.queries),
        "queries_without_positive": scan.queries_without_positive,
        "gallery": len(pairs.gallery),
        "mean_similarity": mean_similarity(embeddings),
        "positive_pairs": pairs.positives,
        "negative_pairs": pairs.negatives,
        "pairs": f"ordered (query, gallery image), an image never with itself{same_group}",
        "ties": "a negative ranks before a positive of equal similarity",
        "threshold_resolution": STEP,
        "products": engine.products,
    }
    if engine.products != "float32":
        facts["products_difference"] = _products_difference(pairs, engine.products)
    if engine.resamples:
        facts["intervals"] = {
            "method": "bootstrap over classes, first-order projection for pairs",
            "level": engine.level,
            "resamples": engine.resamples,
        }
    return facts


def _products_difference(pairs: AllPairs, products: Products) -> float:
    """Largest change of a similarity by rounding for the products, over the pairs of the first 512
    queries."""
    queries = pairs.queries
    rows = queries.vectors[queries.images[:512]]
    rows = (rows if isinstance(rows, np.ndarray) else rows.cpu().double().numpy()).astype(np.float64)
    rows /= queries.norms[:512, None]
    coarse = round_for_products(rows.astype(np.float32), products).astype(np.float64)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
    return float(np.abs(rows @ rows.T - coarse @ coarse.T).max())


def _sweep(curve: Curve) -> dict[str, list[Any]]:
    # The curve includes these thresholds down to the first that accepts every positive pair.
    at = np.searchsorted(-curve.similarities, -np.array(_SWEEP))
    at = at[at < len(curve.similarities)]
    at = at[: int((curve.true_positives[at] < curve.positives).sum()) + 1]
    return {
        "distance": [step / 100 for step in range(len(at))],
        "true_positives": curve.true_positives[at].tolist(),
        "false_positives": curve.false_positives[at].tolist(),
    }


def _means_by_class(scan: PairScan) -> dict[str, np.ndarray]:
    count = np.bincount(scan.query_classes, minlength=len(scan.classes))
    with np.errstate(invalid="ignore"):
        return {
            name: np.bincount(scan.query_classes, values, len(scan.classes)) / count
            for name, values in scan.per_query.items()
        }

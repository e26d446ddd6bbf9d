"""Sections of the report page that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Name, options class within this package; summary.
_COMPONENTS = (
    ("answer", "answer:Answer",
     "the question of the suite, the case to take and why, and the verdicts on its claims"),
    ("cases", "cases:Cases", "a table of all cases with every metric, speed and size, and their intervals"),
    ("trade_offs", "trade_offs:TradeOffs",
     "each headline metric against size, latency and throughput, with the front"),
    ("threshold", "threshold:Threshold",
     "precision, recall and F1 at every threshold, read off with a slider, with the fitted one marked"),
    ("similarities", "similarities:Similarities",
     "how similar images of one class and of different classes are"),
    ("errors", "errors:Errors", "the worst wrong queries with their five nearest images and the right one"),
    ("hard_pairs", "hard_pairs:HardPairs",
     "the least similar pairs of one class, and the most similar of two"),
    ("classes", "classes:Classes", "classes ranked by their own scores, and the pairs that are confused"),
    ("map", "map:Map", "the embeddings of the test images in two dimensions, with images on hover"),
    ("duplicates", "duplicates:Duplicates", "images that are almost the same, in one class or in two"),
    ("training", "training:Training", "losses, scores and learning rates over the epochs of training"),
    ("origin", "origin:Origin",
     "notes, data, environment, fingerprints, and the command that makes the results again"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for name, options, summary in _COMPONENTS:
        yield Component("section", name, f"{__name__}.{options}", summary)

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
    ("training", "training:Training", "losses, scores and learning rates over the epochs of training"),
    ("origin", "origin:Origin",
     "notes, data, environment, fingerprints, and the command that makes the results again"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for name, options, summary in _COMPONENTS:
        yield Component("section", name, f"{__name__}.{options}", summary)

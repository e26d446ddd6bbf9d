"""Kinds of claims that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Name, options class within this package, source; summary.
_COMPONENTS = (
    ("better", "contrasts:Better", "",
     "one case has a better value of a metric than another, by more than a minimum effect"),
    ("interaction", "contrasts:Interaction", "",
     "the difference between two cases depends on a second factor, or changes its sign with it"),
    ("trend", "contrasts:Trend", "",
     "a metric gets better along an ordered row of cases"),
    ("transfer", "transfer:Transfer", "",
     "what variants gain on one network predicts what they gain on another"),
    ("trade", "trade:Trade", "",
     "a case reaches a metric at most at these costs in bytes, time or memory"),
    ("table", "table:Published", "",
     "published numbers are reproduced within a tolerance, row by row"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for name, options, source, summary in _COMPONENTS:
        yield Component("claim", name, f"{__name__}.{options}", summary, source)

"""Losses that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="loss",
            name="softmax",
            factory="mlbench_losses.margin:softmax",
            summary="normalised softmax: cross entropy of scaled cosines, no margin",
            source="arXiv:1704.06369",
            predict="mlbench_losses.margin:predict_softmax",
        ),
        Component(
            kind="loss",
            name="cosface",
            factory="mlbench_losses.margin:cosface",
            summary="additive cosine margin",
            source="arXiv:1801.09414",
            predict="mlbench_losses.margin:predict_cosface",
        ),
    ]

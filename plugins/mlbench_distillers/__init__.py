"""Distillers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="distiller",
            name="kl",
            factory="mlbench_distillers.distances:kl",
            summary="divergence of the softmax over the teacher's dimensions",
            source="arXiv:1503.02531",
        ),
        Component(
            kind="distiller",
            name="cosine",
            factory="mlbench_distillers.distances:cosine",
            summary="one minus the cosine to the teacher's embedding",
            source="arXiv:1412.6550",
        ),
        Component(
            kind="distiller",
            name="l1",
            factory="mlbench_distillers.distances:l1",
            summary="mean absolute difference from the teacher's unit vector",
            source="arXiv:1412.6550",
        ),
        Component(
            kind="distiller",
            name="relational",
            factory="mlbench_distillers.distances:relational",
            summary="distances and angles between the images of a batch, as the teacher sees them",
            source="arXiv:1904.05068",
        ),
    ]

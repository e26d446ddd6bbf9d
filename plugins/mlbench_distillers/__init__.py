"""Distillers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

_DISTANCES = "mlbench_distillers.distances"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "distiller",
            "kl",
            f"{_DISTANCES}:Kl",
            "divergence of the softmax over the teacher's dimensions",
            "arXiv:1503.02531",
        ),
        Component(
            "distiller",
            "cosine",
            f"{_DISTANCES}:Cosine",
            "one minus the cosine to the teacher's embedding",
            "arXiv:1412.6550",
        ),
        Component(
            "distiller",
            "l1",
            f"{_DISTANCES}:L1",
            "mean absolute difference from the teacher's unit vector",
            "arXiv:1412.6550",
        ),
        Component(
            "distiller",
            "relational",
            f"{_DISTANCES}:Relational",
            "distances and angles between the images of a batch, compared with the teacher's",
            "arXiv:1904.05068",
        ),
    ]

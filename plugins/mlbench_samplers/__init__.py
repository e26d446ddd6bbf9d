"""Samplers of class centres and of batches that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="sampler",
            name="all",
            factory="mlbench_samplers.centres:all_centres",
            summary="every class centre takes part in every step",
            source="arXiv:1704.06369",
            predict="mlbench_samplers.centres:predict_all_centres",
        ),
        Component(
            kind="sampler",
            name="partial_fc",
            factory="mlbench_samplers.centres:partial_fc",
            summary="the batch's own class centres and a random share of the others",
            source="arXiv:2203.15565",
            predict="mlbench_samplers.centres:predict_partial_fc",
            advise="mlbench_samplers.advice:advise_partial_fc",
        ),
        Component(
            kind="batch_sampler",
            name="shuffle",
            factory="mlbench_samplers.batches:shuffle",
            summary="a random order of all images, cut into batches",
            predict="mlbench_samplers.batches:predict_shuffle",
        ),
        Component(
            kind="batch_sampler",
            name="m_per_class",
            factory="mlbench_samplers.batches:m_per_class",
            summary="random classes with m images of each (P x K batches)",
            source="arXiv:1703.07737",
            predict="mlbench_samplers.batches:predict_m_per_class",
        ),
    ]

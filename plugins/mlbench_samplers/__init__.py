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
        Component(
            kind="batch_sampler",
            name="repeated",
            factory="mlbench_samplers.batches:repeated",
            summary="repeated augmentation: each image several times in a batch, augmented anew",
            source="arXiv:1902.05509",
            predict="mlbench_samplers.batches:predict_repeated",
        ),
        Component(
            kind="batch_sampler",
            name="uniform",
            factory="mlbench_samplers.batches:uniform",
            summary="images, or classes, drawn uniformly with replacement",
            predict="mlbench_samplers.batches:predict_uniform",
        ),
        Component(
            kind="batch_sampler",
            name="hard_triplets",
            factory="mlbench_samplers.triplets:hard_triplets",
            summary="anchor, hard positive, hard negative, mined at the threshold of the best F1",
            source="arXiv:1503.03832",
            predict="mlbench_samplers.triplets:predict_hard_triplets",
        ),
    ]

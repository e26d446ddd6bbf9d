"""Samplers of class centres and batch samplers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

_BATCHES = "mlbench_samplers.batches"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "sampler",
            "all",
            "mlbench_samplers.centres:AllCentres",
            "every class centre takes part in every step",
            "arXiv:1704.06369",
        ),
        Component(
            "sampler",
            "partial_fc",
            "mlbench_samplers.centres:PartialFC",
            "the class centres of the batch and a random share of the others",
            "arXiv:2203.15565",
        ),
        Component(
            "batch_sampler", "shuffle", f"{_BATCHES}:Shuffle", "all images in random order, cut into batches"
        ),
        Component(
            "batch_sampler",
            "m_per_class",
            f"{_BATCHES}:MPerClass",
            "random classes with m images of each (P x K batches)",
            "arXiv:1703.07737",
        ),
        Component(
            "batch_sampler",
            "repeated",
            f"{_BATCHES}:Repeated",
            "repeated augmentation: each image several times in a batch, augmented each time",
            "arXiv:1902.05509",
        ),
        Component(
            "batch_sampler",
            "uniform",
            f"{_BATCHES}:Uniform",
            "images, or classes, drawn uniformly with replacement",
        ),
        Component(
            "batch_sampler",
            "hard_triplets",
            "mlbench_samplers.triplets:HardTriplets",
            "anchor, hard positive, hard negative, mined at the threshold with the best F1",
            "arXiv:1503.03832",
        ),
    ]

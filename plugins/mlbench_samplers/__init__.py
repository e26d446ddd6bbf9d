"""Samplers of class centres and batch samplers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("sampler", "all", "centres:AllCentres", "arXiv:1704.06369",
     "every class centre takes part in every step"),
    ("sampler", "partial_fc", "centres:PartialFC", "arXiv:2203.15565",
     "the class centres of the batch and a random share of the others"),
    ("batch_sampler", "shuffle", "batches:Shuffle", "",
     "all images in random order, cut into batches"),
    ("batch_sampler", "m_per_class", "batches:MPerClass", "arXiv:1703.07737",
     "random classes with m images of each (P x K batches)"),
    ("batch_sampler", "repeated", "batches:Repeated", "arXiv:1902.05509",
     "repeated augmentation: each image several times in a batch, augmented each time"),
    ("batch_sampler", "uniform", "batches:Uniform", "",
     "images, or classes, drawn uniformly with replacement"),
    ("batch_sampler", "hard_triplets", "triplets:HardTriplets", "arXiv:1503.03832",
     "anchor, hard positive, hard negative, mined at the threshold with the best F1"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

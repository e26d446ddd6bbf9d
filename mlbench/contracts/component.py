"""The registration of a component, and the kinds of components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CONTRACT", "KINDS", "OLDEST_CONTRACT", "Component"]

#: Version of everything in `mlbench.plugin`. It grows when a plugin that was written before may stop working.
CONTRACT = 1

#: The oldest version whose plugins still load.
OLDEST_CONTRACT = 1

#: Every kind of component, with what it is for.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "dataset": "labelled images in train, calibration and test splits",
        "augmentation": "random changes to a training image",
        "mixing": "random mixes of the images of a training batch",
        "backbone": "images to feature maps",
        "neck": "feature maps to embeddings",
        "loss": "what training minimises",
        "sampler": "the class centres, and which of them take part in a step",
        "distiller": "distance between embeddings and those of a teacher",
        "batch_sampler": "which training images make up a batch",
        "recipe": "optimiser, schedule and length of training",
        "metric": "what is evaluated on the embeddings",
        "threshold": "which threshold to deploy, fitted on the calibration split",
        "claim": "a statement about several cases that their records support or refute",
    }
)


@dataclass(frozen=True, slots=True)
class Component:
    """The registration of one component. Its options class is imported when it is first needed.

    kind: one of `KINDS`. name: its name in suites. options: "module:Class" of its options class, a subclass
    of its kind's (`NeckOptions` for a neck). summary: one line. source: the paper or page that it comes from,
    as "arXiv:1801.09414" or an address."""

    kind: str
    name: str
    options: str
    summary: str
    source: str = ""

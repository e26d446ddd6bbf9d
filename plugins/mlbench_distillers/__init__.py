"""Distillers that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("distiller", "kl", "distances:Kl", "arXiv:1503.02531",
     "divergence of the softmax over the teacher's dimensions"),
    ("distiller", "cosine", "distances:Cosine", "arXiv:1412.6550",
     "one minus the cosine to the teacher's embedding"),
    ("distiller", "l1", "distances:L1", "arXiv:1412.6550",
     "mean absolute difference from the teacher's unit vector"),
    ("distiller", "relational", "distances:Relational", "arXiv:1904.05068",
     "distances and angles between the images of a batch, compared with the teacher's"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

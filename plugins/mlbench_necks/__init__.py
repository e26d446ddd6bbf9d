"""Necks that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("neck", "flatten", "projection:Flatten", "arXiv:1801.07698",
     "every position of the map, then two linear layers with norms"),
    ("neck", "gap", "projection:Gap", "arXiv:1312.4400",
     "mean over the map, then two linear layers with norms"),
    ("neck", "gem", "projection:Gem", "arXiv:1711.02512",
     "generalised mean over the map with a learnt power, then two linear layers with norms"),
    ("neck", "pooled", "pooled:Pooled", "arXiv:1207.0580",
     "mean over the map, dropout, unit length; no parameters"),
    ("neck", "squeeze", "projection:Squeeze", "arXiv:1312.4400",
     "1x1 convolution to fewer channels, every position, then two linear layers with norms"),
    ("neck", "token", "projection:Token", "arXiv:2010.11929",
     "class token of a transformer, then two linear layers with norms"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

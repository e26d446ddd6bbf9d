"""Necks that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

_PROJECTION = "mlbench_necks.projection"
_LINEAR = "then two linear layers with norms"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "neck",
            "flatten",
            f"{_PROJECTION}:Flatten",
            f"every position of the map, {_LINEAR}",
            "arXiv:1801.07698",
        ),
        Component("neck", "gap", f"{_PROJECTION}:Gap", f"mean over the map, {_LINEAR}", "arXiv:1312.4400"),
        Component(
            "neck",
            "gem",
            f"{_PROJECTION}:Gem",
            f"generalised mean over the map with a learnt power, {_LINEAR}",
            "arXiv:1711.02512",
        ),
        Component(
            "neck",
            "pooled",
            "mlbench_necks.pooled:Pooled",
            "mean over the map, dropout, unit length; no parameters",
            "arXiv:1207.0580",
        ),
        Component(
            "neck",
            "squeeze",
            f"{_PROJECTION}:Squeeze",
            f"1x1 convolution to fewer channels, every position, {_LINEAR}",
            "arXiv:1312.4400",
        ),
        Component(
            "neck",
            "token",
            f"{_PROJECTION}:Token",
            f"class token of a transformer, {_LINEAR}",
            "arXiv:2010.11929",
        ),
    ]

"""Necks that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="neck",
            name="flatten",
            factory="mlbench_necks.projection:flatten",
            summary="every position of the map, then two linear layers with norms",
            source="arXiv:1801.07698",
            predict="mlbench_necks.projection:predict_flatten",
        ),
        Component(
            kind="neck",
            name="gap",
            factory="mlbench_necks.projection:gap",
            summary="mean over the map, then two linear layers with norms",
            source="arXiv:1312.4400",
            predict="mlbench_necks.projection:predict_gap",
        ),
        Component(
            kind="neck",
            name="gem",
            factory="mlbench_necks.projection:gem",
            summary="generalised mean over the map with a learnt power, then two linear layers with norms",
            source="arXiv:1711.02512",
            predict="mlbench_necks.projection:predict_gem",
        ),
        Component(
            kind="neck",
            name="pooled",
            factory="mlbench_necks.pooled:pooled",
            summary="mean over the map, dropout, unit length; no parameters",
            source="arXiv:1207.0580",
            predict="mlbench_necks.pooled:predict_pooled",
        ),
        Component(
            kind="neck",
            name="squeeze",
            factory="mlbench_necks.projection:squeeze",
            summary="1x1 convolution to fewer channels, every position, then two linear layers with norms",
            source="arXiv:1312.4400",
            predict="mlbench_necks.projection:predict_squeeze",
        ),
        Component(
            kind="neck",
            name="token",
            factory="mlbench_necks.projection:token",
            summary="class token of a transformer, then two linear layers with norms",
            source="arXiv:2010.11929",
            predict="mlbench_necks.projection:predict_token",
        ),
    ]

"""What a component offers by name, such as the models of a library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["CatalogueItem"]


class CatalogueItem(NamedTuple):
    """One thing that a component offers by name, for `mlbench list --search`.

    name: by which it is searched. options: with which a suite chooses it, such as {"model": "resnet50"}.
    summary: one line, "" where the name says it. parameters: their number. image_size: pixels of a side of
    the images that it is made for. weights: tags of pretrained weights, the default first."""

    name: str
    options: Mapping[str, Any]
    summary: str = ""
    parameters: int | None = None
    image_size: int | None = None
    weights: tuple[str, ...] = ()

"""The recipe without a source: mlbench's defaults."""

from __future__ import annotations

from mlbench.plugin import Recipe

__all__ = ["Standard"]


class Standard(Recipe):
    """Ten epochs of 128 images in a step; every number is an option."""

    epochs: int = 10
    batch_size: int = 128

"""Training recipes that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="recipe",
            name="standard",
            factory="mlbench_recipes.standard:standard",
            summary="timm optimiser, linear warm-up, decay per step; every number is an option",
        ),
    ]

"""Backbones that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="backbone",
            name="timm",
            factory="mlbench_backbones.backbone:timm_backbone",
            summary="the feature map of a timm model, cut into a frozen prefix and a trained rest",
            source="https://github.com/huggingface/pytorch-image-models",
            predict="mlbench_backbones.backbone:predict_timm_backbone",
        ),
    ]

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
            name="open_clip",
            factory="mlbench_backbones.clip_backbone:open_clip_backbone",
            summary="the image tower of an open_clip model: its embedding, its tokens or their map",
            source="arXiv:2212.07143",
            predict="mlbench_backbones.clip_backbone:predict_open_clip_backbone",
        ),
        Component(
            kind="backbone",
            name="preact_resnet",
            factory="mlbench_backbones.preact_backbone:preact_resnet",
            summary="pre-activation bottleneck ResNet for small images, depth 9n + 2, with or without SE",
            source="arXiv:1603.05027",
            predict="mlbench_backbones.preact_backbone:predict_preact_resnet",
        ),
        Component(
            kind="backbone",
            name="timm",
            factory="mlbench_backbones.backbone:timm_backbone",
            summary="any timm model: its last map, tokens or pooled features, trained from a layer of choice",
            source="https://github.com/huggingface/pytorch-image-models",
            predict="mlbench_backbones.backbone:predict_timm_backbone",
        ),
    ]

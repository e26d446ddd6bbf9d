"""Backbones that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "backbone",
            "open_clip",
            "mlbench_backbones.clip_backbone:OpenClip",
            "the image tower of an open_clip model: its embedding, its tokens or their map",
            "arXiv:2212.07143",
        ),
        Component(
            "backbone",
            "preact_resnet",
            "mlbench_backbones.preact_backbone:PreactResNet",
            "pre-activation bottleneck ResNet for small images, depth 9n + 2, with or without SE",
            "arXiv:1603.05027",
        ),
        Component(
            "backbone",
            "timm",
            "mlbench_backbones.timm_backbone:Timm",
            "any timm model: its last map, tokens or pooled features, trained from a given layer",
            "https://github.com/huggingface/pytorch-image-models",
        ),
    ]

"""Backbones that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("backbone", "open_clip", "clip_backbone:OpenClip", "arXiv:2212.07143",
     "the image tower of an open_clip model: its embedding, its tokens or their map"),
    ("backbone", "preact_resnet", "preact_backbone:PreactResNet", "arXiv:1603.05027",
     "pre-activation bottleneck ResNet for small images, depth 9n + 2, with or without SE"),
    ("backbone", "timm", "timm_backbone:Timm", "https://github.com/huggingface/pytorch-image-models",
     "any timm model: its last map, tokens or pooled features, trained from a given layer"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

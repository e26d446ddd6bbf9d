"""Training recipes that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl
from mlbench_recipes import strikes_back

_PAPER = "arXiv:2110.00476"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="recipe",
            name="standard",
            factory="mlbench_recipes.standard:standard",
            summary="timm optimiser, linear warm-up, decay per step; every number is an option",
        ),
        _procedure(
            "a1",
            "ResNet strikes back, the longest procedure: LAMB, binary cross entropy, 600 epochs",
            strikes_back.sections(
                train_size=224, magnitude=7, mixup_alpha=0.2, smoothing=0.1, drop_path=0.05, repeats=3
            ),
        ),
        _procedure(
            "a2",
            "ResNet strikes back, the middle procedure: LAMB, binary cross entropy, 300 epochs",
            strikes_back.sections(
                train_size=224, magnitude=7, mixup_alpha=0.1, smoothing=0.0, drop_path=0.05, repeats=3
            ),
        ),
        _procedure(
            "a3",
            "ResNet strikes back, the short procedure: trained at 160 pixels for 100 epochs",
            strikes_back.sections(
                train_size=160, magnitude=6, mixup_alpha=0.1, smoothing=0.0, drop_path=0.0, repeats=1
            ),
        ),
        Component(
            kind="recipe",
            name="docclassifier",
            factory="mlbench_recipes.studies:docclassifier",
            summary="DocClassifier: AdamW, 20 epochs, 10 % warm-up, then linearly to 0",
            source="https://github.com/DocsaidLab/DocClassifier",
            preset={
                "augmentation": {"name": "document"},
                "batch_sampler": {"name": "uniform", "steps": 5000},
                "compute": {"matmul_precision": "medium"},
            },
        ),
        Component(
            kind="recipe",
            name="triplet",
            factory="mlbench_recipes.studies:triplet",
            summary="fine-tuning with triplets: Adam at a constant rate, stopped early",
            source="https://keras.io/examples/vision/siamese_network/",
            preset={"batch_sampler": {"name": "hard_triplets", "triplets": 4000, "per_anchor": 5}},
        ),
        Component(
            kind="recipe",
            name="cifar",
            factory="mlbench_recipes.studies:cifar",
            summary="residual networks on CIFAR: SGD, 160 epochs, the rate cut at half and at three quarters",
            source="arXiv:1512.03385",
            preset={"image": {"size": 32}, "augmentation": {"name": "flip_crop", "pad": 4, "flip": 0.5}},
        ),
    ]


def _procedure(name: str, summary: str, preset: Mapping[str, Any]) -> Component:
    return Component(
        kind="recipe",
        name=name,
        factory=f"mlbench_recipes.strikes_back:{name}",
        summary=summary,
        source=_PAPER,
        preset=preset,
    )

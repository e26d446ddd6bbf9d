"""Training recipes that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            "recipe",
            "standard",
            "mlbench_recipes.standard:Standard",
            "timm optimiser, linear warm-up, decay per step; every number is an option",
        ),
        Component(
            "recipe",
            "a1",
            "mlbench_recipes.strikes_back:A1",
            "ResNet strikes back, the longest procedure: LAMB, binary cross entropy, 600 epochs",
            "arXiv:2110.00476",
        ),
        Component(
            "recipe",
            "a2",
            "mlbench_recipes.strikes_back:A2",
            "ResNet strikes back, the middle procedure: LAMB, binary cross entropy, 300 epochs",
            "arXiv:2110.00476",
        ),
        Component(
            "recipe",
            "a3",
            "mlbench_recipes.strikes_back:A3",
            "ResNet strikes back, the short procedure: trained at 160 pixels for 100 epochs",
            "arXiv:2110.00476",
        ),
        Component(
            "recipe",
            "docclassifier",
            "mlbench_recipes.studies:DocClassifier",
            "DocClassifier: AdamW, 20 epochs, 10 % warm-up, then linearly to 0",
            "https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            "recipe",
            "triplet",
            "mlbench_recipes.studies:Triplet",
            "fine-tuning with triplets: Adam at a constant rate, stopped early",
            "https://keras.io/examples/vision/siamese_network/",
        ),
        Component(
            "recipe",
            "cifar",
            "mlbench_recipes.studies:Cifar",
            "residual networks on CIFAR: SGD, 160 epochs, the rate cut at half and at three quarters",
            "arXiv:1512.03385",
        ),
    ]

"""Training recipes that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("recipe", "standard", "standard:Standard", "",
     "timm optimiser, linear warm-up, decay per step; every number is an option"),
    ("recipe", "a1", "strikes_back:A1", "arXiv:2110.00476",
     "ResNet strikes back, the longest procedure: LAMB, binary cross entropy, 600 epochs"),
    ("recipe", "a2", "strikes_back:A2", "arXiv:2110.00476",
     "ResNet strikes back, the middle procedure: LAMB, binary cross entropy, 300 epochs"),
    ("recipe", "a3", "strikes_back:A3", "arXiv:2110.00476",
     "ResNet strikes back, the short procedure: trained at 160 pixels for 100 epochs"),
    ("recipe", "docclassifier", "studies:DocClassifier", "https://github.com/DocsaidLab/DocClassifier",
     "DocClassifier: AdamW, 20 epochs, 10 % warm-up, then linearly to 0"),
    ("recipe", "triplet", "studies:Triplet", "https://keras.io/examples/vision/siamese_network/",
     "fine-tuning with triplets: Adam at a constant rate, stopped early"),
    ("recipe", "cifar", "studies:Cifar", "arXiv:1512.03385",
     "residual networks on CIFAR: SGD, 160 epochs, the rate cut at half and at three quarters"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

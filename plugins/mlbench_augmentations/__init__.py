"""Augmentations and mixings that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.contracts import Component
from mlbench.hookspecs import hookimpl

_AUGMENTATION = "mlbench_augmentations.augmentation"
_MIXING = "mlbench_augmentations.mixing"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="augmentation",
            name="flip_crop",
            factory=f"{_AUGMENTATION}:flip_crop",
            summary="padded by a few pixels, cropped back anywhere, flipped: usual on CIFAR",
            source="arXiv:1409.5185",
        ),
        Component(
            kind="augmentation",
            name="resized_crop",
            factory=f"{_AUGMENTATION}:resized_crop",
            summary="a part of random area and proportions, resized, flipped: usual on ImageNet",
            source="arXiv:1409.4842",
        ),
        Component(
            kind="augmentation",
            name="randaugment",
            factory=f"{_AUGMENTATION}:randaugment",
            summary="timm's RandAugment: a few of 15 changes, all of one magnitude",
            source="arXiv:1909.13719",
        ),
        Component(
            kind="augmentation",
            name="crop_randaugment",
            factory=f"{_AUGMENTATION}:crop_randaugment",
            summary="random resized crop, flip, then RandAugment",
            source="arXiv:2110.00476",
        ),
        Component(
            kind="augmentation",
            name="document",
            factory=f"{_AUGMENTATION}:document",
            summary="DocClassifier's four groups of changes: position, blur, noise, colour",
            source="https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            kind="mixing",
            name="mixup",
            factory=f"{_MIXING}:mixup",
            summary="the weighted mean of two images",
            source="arXiv:1710.09412",
        ),
        Component(
            kind="mixing",
            name="cutmix",
            factory=f"{_MIXING}:cutmix",
            summary="a box of one image pasted into another",
            source="arXiv:1905.04899",
        ),
        Component(
            kind="mixing",
            name="mixup_cutmix",
            factory=f"{_MIXING}:mixup_cutmix",
            summary="mixup or CutMix, drawn for every batch",
            source="arXiv:2110.00476",
        ),
    ]

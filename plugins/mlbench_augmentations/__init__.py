"""Augmentations and mixings that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

_AUGMENTATION = "mlbench_augmentations.augmentations"
_MIXING = "mlbench_augmentations.mixings"


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component(
            kind="augmentation",
            name="flip_crop",
            options=f"{_AUGMENTATION}:FlipCrop",
            summary="padding, a random crop of the old size, a flip: usual on CIFAR",
            source="arXiv:1409.5185",
        ),
        Component(
            kind="augmentation",
            name="resized_crop",
            options=f"{_AUGMENTATION}:ResizedCrop",
            summary="a part of random area and aspect ratio, resized, flipped: usual on ImageNet",
            source="arXiv:1409.4842",
        ),
        Component(
            kind="augmentation",
            name="randaugment",
            options=f"{_AUGMENTATION}:RandAugment",
            summary="timm's RandAugment: a few of 15 changes, all of one magnitude",
            source="arXiv:1909.13719",
        ),
        Component(
            kind="augmentation",
            name="crop_randaugment",
            options=f"{_AUGMENTATION}:CropRandAugment",
            summary="random resized crop, flip, then RandAugment",
            source="arXiv:2110.00476",
        ),
        Component(
            kind="augmentation",
            name="document",
            options=f"{_AUGMENTATION}:DocumentAugmentation",
            summary="DocClassifier's four groups of changes: position, blur, noise, colour",
            source="https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            kind="mixing",
            name="mixup",
            options=f"{_MIXING}:Mixup",
            summary="the weighted mean of two images",
            source="arXiv:1710.09412",
        ),
        Component(
            kind="mixing",
            name="cutmix",
            options=f"{_MIXING}:CutMix",
            summary="a box of one image pasted into another",
            source="arXiv:1905.04899",
        ),
        Component(
            kind="mixing",
            name="mixup_cutmix",
            options=f"{_MIXING}:MixupCutMix",
            summary="mixup or CutMix, drawn for every batch",
            source="arXiv:2110.00476",
        ),
    ]

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
            "augmentation",
            "flip_crop",
            f"{_AUGMENTATION}:FlipCrop",
            "padding, a random crop of the old size, a flip: usual on CIFAR",
            "arXiv:1409.5185",
        ),
        Component(
            "augmentation",
            "resized_crop",
            f"{_AUGMENTATION}:ResizedCrop",
            "a part of random area and aspect ratio, resized, flipped: usual on ImageNet",
            "arXiv:1409.4842",
        ),
        Component(
            "augmentation",
            "randaugment",
            f"{_AUGMENTATION}:RandAugment",
            "timm's RandAugment: a few of 15 changes, all of one magnitude",
            "arXiv:1909.13719",
        ),
        Component(
            "augmentation",
            "crop_randaugment",
            f"{_AUGMENTATION}:CropRandAugment",
            "random resized crop, flip, then RandAugment",
            "arXiv:2110.00476",
        ),
        Component(
            "augmentation",
            "document",
            f"{_AUGMENTATION}:DocumentAugmentation",
            "DocClassifier's four groups of changes: position, blur, noise, colour",
            "https://github.com/DocsaidLab/DocClassifier",
        ),
        Component(
            "mixing", "mixup", f"{_MIXING}:Mixup", "the weighted mean of two images", "arXiv:1710.09412"
        ),
        Component(
            "mixing",
            "cutmix",
            f"{_MIXING}:CutMix",
            "a box of one image pasted into another",
            "arXiv:1905.04899",
        ),
        Component(
            "mixing",
            "mixup_cutmix",
            f"{_MIXING}:MixupCutMix",
            "mixup or CutMix, drawn for every batch",
            "arXiv:2110.00476",
        ),
    ]

"""Augmentations and mixings that come with mlbench."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.plugin import Component, hookimpl

# fmt: off
#: Kind, name, options class within this package, source; summary.
_COMPONENTS = (
    ("augmentation", "flip_crop", "augmentations:FlipCrop", "arXiv:1409.5185",
     "padding, a random crop of the old size, a flip: usual on CIFAR"),
    ("augmentation", "resized_crop", "augmentations:ResizedCrop", "arXiv:1409.4842",
     "a part of random area and aspect ratio, resized, flipped: usual on ImageNet"),
    ("augmentation", "randaugment", "augmentations:RandAugment", "arXiv:1909.13719",
     "timm's RandAugment: a few of 15 changes, all of one magnitude"),
    ("augmentation", "crop_randaugment", "augmentations:CropRandAugment", "arXiv:2110.00476",
     "random resized crop, flip, then RandAugment"),
    ("augmentation", "document", "augmentations:DocumentAugmentation", "https://github.com/DocsaidLab/DocClassifier",
     "DocClassifier's four groups of changes: position, blur, noise, colour"),
    ("augmentation", "chain", "augmentations:ChainOfAugmentations", "",
     "other augmentations, one after the other"),
    ("mixing", "mixup", "mixings:Mixup", "arXiv:1710.09412",
     "the weighted mean of two images"),
    ("mixing", "cutmix", "mixings:CutMix", "arXiv:1905.04899",
     "a box of one image pasted into another"),
    ("mixing", "mixup_cutmix", "mixings:MixupCutMix", "arXiv:2110.00476",
     "mixup or CutMix, drawn for every batch"),
)
# fmt: on


@hookimpl
def mlbench_components() -> Iterable[Component]:
    for kind, name, options, source, summary in _COMPONENTS:
        yield Component(kind, name, f"{__name__}.{options}", summary, source)

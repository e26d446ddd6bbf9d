"""A third-party plugin package for the tests: tiny components that train in a blink."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from signal import SIGKILL
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from mlbench.plugin import (
    ACCEPT_NOTHING,
    GALLERY,
    QUERY,
    AugmentationOptions,
    BackboneOptions,
    Component,
    DataError,
    DatasetContext,
    DatasetOptions,
    DistillerContext,
    DistillerOptions,
    Features,
    FeatureShape,
    LossContext,
    LossOptions,
    Mixed,
    MixingOptions,
    NeckOptions,
    PairList,
    Recipe,
    ThresholdOptions,
    hookimpl,
    numpy_generator,
)

SIZE = 16


class ToySplit:
    """Classes are fixed random patterns, views add noise."""

    def __init__(self, name: str, classes: int, views: int, broken: int, *, closed: bool = False) -> None:
        self.name = name
        self.classes_of = "every split" if closed else name
        self.num_classes = classes
        self.views = views
        self.broken = broken

    def __len__(self) -> int:
        return self.num_classes * self.views

    def label(self, index: int) -> int:
        return index // self.views

    def image(self, index: int) -> Image.Image:
        if index == self.broken:
            raise DataError("toy.png: truncated")
        label, view = divmod(index, self.views)
        pattern = (
            numpy_generator(7, self.classes_of, label).integers(0, 256, (4, 4, 3)).repeat(4, 0).repeat(4, 1)
        )
        noise = numpy_generator(7, self.name, label, view).normal(0, 20, pattern.shape)
        return Image.fromarray(np.clip(pattern + noise, 0, 255).astype(np.uint8))

    def class_name(self, label: int) -> str:
        return f"{self.classes_of}/{label}"

    def role(self, index: int) -> int:
        return QUERY | GALLERY


class ToyDataset:
    disjoint = True
    notes = ()

    def __init__(
        self, classes: int, views: int, broken: int, disjoint: bool, *, closed: bool = False
    ) -> None:
        self.version = f"toy-{classes}-{views}-{broken}{'-closed' * closed}"
        self.disjoint = disjoint and not closed
        self.closed = closed
        self._arguments = (classes, views, broken)

    def split(self, name: str) -> ToySplit:
        classes, views, broken = self._arguments
        return ToySplit(name, classes, views, broken if name == "train" else -1, closed=self.closed)


class ToyOptions(DatasetOptions):
    classes: Annotated[int, Field(ge=1)] = 6
    views: Annotated[int, Field(ge=1)] = 4
    broken: int = -1
    disjoint: bool = True
    closed: bool = False

    def build(self, context: DatasetContext) -> ToyDataset:
        return ToyDataset(self.classes, self.views, self.broken, self.disjoint, closed=self.closed)


class ToyPairs(ToyDataset):
    """The first two views of each class are one; the first of it and of the next are not."""

    def __init__(self, *, labelled: bool) -> None:
        super().__init__(6, 4, -1, True)
        self.labelled = labelled

    def split(self, name: str) -> ToySplit:
        split = super().split(name)
        if name == "test" and not self.labelled:
            split.role = lambda index: 0  # type: ignore[method-assign]
        return split

    def pairs(self) -> PairList:
        first = np.arange(0, 24, 4)
        left, right = np.repeat(first, 2), np.stack([first + 1, np.roll(first, 1)], 1).ravel()
        return PairList(left, right, np.arange(12) % 2 == 0, np.arange(12) // 6)


class ToyPairsOptions(DatasetOptions):
    labelled: bool = True

    def build(self, context: DatasetContext) -> ToyPairs:
        return ToyPairs(labelled=self.labelled)


class Jitter(AugmentationOptions):
    def build(self, image_size: int) -> Jitter:
        return self

    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        return Image.fromarray(
            np.clip(np.asarray(image) + generator.integers(-30, 31), 0, 255).astype(np.uint8)
        )


class ToyBackboneOptions(BackboneOptions):
    """Two convolutions, of which the first is the frozen prefix."""

    frozen: bool = False

    def build(self, image_size: int) -> Any:
        return _toy_backbone(image_size, self.frozen)


def _toy_backbone(image_size: int, frozen: bool) -> Any:
    import torch
    from torch import nn

    class ToyBackbone(nn.Module):
        mean = std = (0.5, 0.5, 0.5)
        weights = "random"
        feature_shape = FeatureShape(8, image_size // 4, image_size // 4)

        def __init__(self) -> None:
            super().__init__()
            first = [nn.Conv2d(3, 8, 2, 2), nn.BatchNorm2d(8), nn.ReLU()]
            second = [nn.Conv2d(8, 8, 2, 2), nn.BatchNorm2d(8), nn.ReLU()]
            self.frozen = nn.Sequential(*(first if frozen else []))
            self.trained = nn.Sequential(*([] if frozen else first), *second)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.trained(self.frozen(images))

    return ToyBackbone()


class ToyLoss(LossOptions):
    """A loss that is its own options."""

    def build(self, context: LossContext) -> Any:
        return self


class NaNLoss(ToyLoss):
    def __call__(self, embeddings: Any, labels: Any) -> Any:
        return embeddings.sum() * float("nan")


class CrashingLoss(ToyLoss):
    message: str = "boom"

    def __call__(self, embeddings: Any, labels: Any) -> Any:
        raise RuntimeError(f"{self.message}\nsecond line")


class KillingLoss(ToyLoss):
    """Ends its process as the kernel does when memory runs out, once the file `flag` exists."""

    flag: str = ""

    def __call__(self, embeddings: Any, labels: Any) -> Any:
        if not self.flag or os.path.exists(self.flag):
            os.kill(os.getpid(), SIGKILL)
        return embeddings.square().mean()


class Nothing(ThresholdOptions):
    def __call__(self, curve: Any) -> float:
        return ACCEPT_NOTHING


class MeanPairLoss(ToyLoss):
    """Mean distance of positives minus mean distance of negatives."""

    def __call__(self, embeddings: Any, labels: Any) -> Any:
        from torch.nn.functional import normalize

        unit = normalize(embeddings)
        similarity = unit @ unit.T
        same = labels[:, None] == labels[None]
        return similarity[~same].mean() - similarity[same].mean()


class Halves(MixingOptions):
    """Mixes each image with its neighbour."""

    share: float = 0.7

    def build(self) -> Halves:
        return self

    def __call__(self, images: Any, generator: np.random.Generator) -> Any:
        import torch

        if generator.random() < 0.2:
            return None
        partners = torch.arange(len(images)).roll(1)
        pixels = images.float()
        return Mixed(pixels * self.share + pixels[partners] * (1 - self.share), partners, self.share)


class ToyDistillerOptions(DistillerOptions):
    """Mean squared distance to the teacher, through a projection."""

    images: Literal["clean", "augmented"] = "clean"
    weight: float = 1.0

    def build(self, context: DistillerContext) -> Any:
        return _toy_distiller(context.dim, context.teacher_dim, self.images, self.weight)


def _toy_distiller(dim: int, teacher_dim: int, images: str, weight: float) -> Any:
    import torch
    from torch import nn

    class ToyDistiller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.images = images
            self.weight = weight
            self.projection = nn.Linear(dim, teacher_dim, bias=False)

        def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return (self.projection(embeddings) - targets).square().mean()

    return ToyDistiller()


class NoisyNeck(NeckOptions):
    """A projection behind a batch norm and dropout."""

    dim: int = 8

    def build(self, features: Features) -> Any:
        return _noisy_neck(features.channels, self.dim)


def _noisy_neck(channels: int, dim: int) -> Any:
    import torch
    from torch import nn

    class Noisy(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.BatchNorm2d(channels), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1))
            self.projection = nn.Linear(channels, dim)
            self.dim = dim

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            for layer in list(self)[:3]:
                features = layer(features)
            return self.projection(features.flatten(1))

    return Noisy()


class BringingRecipe(Recipe):
    epochs: int = 2
    batch_size: int = 8

    @classmethod
    def settings(cls) -> dict[str, Any]:
        return {
            "image": {"crop_ratio": 0.5},
            "mixing": {"name": "toy", "share": 0.9},
            "loss": {"name": "cosface", "scale": 8},
            "backbone": {"frozen": True},
            "batch_sampler": {"name": "m_per_class", "m": 2},
        }


class FullRecipe(Recipe):
    epochs: int = 2
    batch_size: int = 8
    schedule: Literal["cosine", "linear", "step", "constant"] = "step"
    milestones: tuple[float, ...] = (0.5,)
    warmup: float = 0.0
    clip_norm: float = 0.0


class DeadlyOptions(DatasetOptions):
    """A toy data set whose reader sends its own process a signal, the first time only."""

    once: str
    signal: int = SIGKILL.value

    def build(self, context: DatasetContext) -> ToyDataset:
        return _deadly_dataset(self.once, self.signal)


def _deadly_dataset(once: str, signal: int) -> ToyDataset:
    class DeadlySplit(ToySplit):
        def image(self, index: int) -> Image.Image:
            flag = Path(once)
            if self.name == "train" and index == len(self) - 1 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal)
            return super().image(index)

    class DeadlyDataset(ToyDataset):
        def split(self, name: str) -> ToySplit:
            return DeadlySplit(name, 6, 4, -1)

    return DeadlyDataset(6, 4, -1, True)


@hookimpl
def mlbench_components() -> Iterable[Component]:
    return [
        Component("dataset", "toy", "toys:ToyOptions", "patterns with noise"),
        Component("dataset", "toy_pairs", "toys:ToyPairsOptions", "patterns with noise, and pairs"),
        Component("dataset", "deadly", "toys:DeadlyOptions", "dies once"),
        Component("augmentation", "jitter", "toys:Jitter", "brightness"),
        Component("backbone", "toy", "toys:ToyBackboneOptions", "two convolutions"),
        Component("loss", "nan", "toys:NaNLoss", "never finite"),
        Component("loss", "crashing", "toys:CrashingLoss", "a plugin's bug"),
        Component("loss", "killing", "toys:KillingLoss", "ends its process"),
        Component("loss", "pair", "toys:MeanPairLoss", "no class centres"),
        Component("mixing", "toy", "toys:Halves", "mixes neighbours"),
        Component("distiller", "toy", "toys:ToyDistillerOptions", "squared distance"),
        Component("neck", "noisy", "toys:NoisyNeck", "draws in training"),
        Component("threshold", "nothing", "toys:Nothing", "accepts no pair"),
        Component("recipe", "preset", "toys:BringingRecipe", "brings settings of other sections"),
        Component("recipe", "full", "toys:FullRecipe", "every field that is new"),
    ]

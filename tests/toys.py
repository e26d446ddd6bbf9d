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

from mlbench.contracts import GALLERY, QUERY, Component, FeatureShape, Mixed, PairList, Recipe
from mlbench.errors import DataError
from mlbench.hookspecs import hookimpl
from mlbench.seeding import numpy_generator

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


def dataset(
    *,
    classes: Annotated[int, Field(ge=1)] = 6,
    views: Annotated[int, Field(ge=1)] = 4,
    broken: int = -1,
    disjoint: bool = True,
    closed: bool = False,
) -> ToyDataset:
    return ToyDataset(classes, views, broken, disjoint, closed=closed)


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


def paired_dataset(*, labelled: bool = True) -> ToyPairs:
    return ToyPairs(labelled=labelled)


class Jitter:
    def __call__(self, image: Image.Image, generator: np.random.Generator) -> Image.Image:
        return Image.fromarray(
            np.clip(np.asarray(image) + generator.integers(-30, 31), 0, 255).astype(np.uint8)
        )


def jitter() -> Jitter:
    return Jitter()


def backbone(image_size: int, *, frozen: bool = False) -> Any:
    """A convolution, another, and where the frozen prefix ends between them."""
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


def nan_loss() -> Any:
    return lambda embeddings, labels: embeddings.sum() * float("nan")


def crashing_loss(*, message: str = "boom") -> Any:
    def loss(embeddings: Any, labels: Any) -> Any:
        raise RuntimeError(f"{message}\nsecond line")

    return loss


def killing_loss(*, flag: str = "") -> Any:
    """Ends its process as the kernel does when memory runs out. flag: file from whose being there on."""

    def loss(embeddings: Any, labels: Any) -> Any:
        if not flag or os.path.exists(flag):
            os.kill(os.getpid(), SIGKILL)
        return embeddings.square().mean()

    return loss


def pair_loss() -> Any:
    """Mean distance of positives minus mean distance of negatives."""

    def loss(embeddings: Any, labels: Any) -> Any:
        from torch.nn.functional import normalize

        unit = normalize(embeddings)
        similarity = unit @ unit.T
        same = labels[:, None] == labels[None]
        return similarity[~same].mean() - similarity[same].mean()

    return loss


class Halves:
    """Mixes each image with its neighbour, and tells what it did."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, images: Any, generator: np.random.Generator) -> Any:
        import torch

        if generator.random() < 0.2:
            return None
        partners = torch.arange(len(images)).roll(1)
        pixels = images.float()
        return Mixed(pixels * self.share + pixels[partners] * (1 - self.share), partners, self.share)


def mixing(*, share: float = 0.7) -> Halves:
    return Halves(share)


def distiller(
    dim: int, teacher_dim: int, *, images: Literal["clean", "augmented"] = "clean", weight: float = 1.0
) -> Any:
    """Mean squared distance to the teacher, through a projection."""
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


def noisy_neck(feature_shape: FeatureShape, *, dim: int = 8) -> Any:
    """A projection whose training draws: dropout, and a batch norm before it."""
    import torch
    from torch import nn

    class Noisy(nn.Sequential):
        def __init__(self) -> None:
            channels = feature_shape[0]
            super().__init__(nn.BatchNorm2d(channels), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1))
            self.projection = nn.Linear(channels, dim)
            self.dim = dim

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            for layer in list(self)[:3]:
                features = layer(features)
            return self.projection(features.flatten(1))

    return Noisy()


def preset_recipe(*, epochs: int = 2, batch_size: int = 8) -> Recipe:
    return Recipe(epochs=epochs, batch_size=batch_size)


def full_recipe(
    *,
    epochs: int = 2,
    batch_size: int = 8,
    schedule: Literal["step", "constant"] = "step",
    milestones: tuple[float, ...] = (0.5,),
    optimizer: str = "adamw",
    options: dict[str, Any] | None = None,
    ema: float = 0.0,
    warmup: float = 0.0,
    clip_norm: float = 0.0,
) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        optimizer_options=options or {},
        schedule=schedule,
        milestones=milestones,
        ema=ema,
        warmup=warmup,
        clip_norm=clip_norm,
    )


#: What comes with the recipe "preset".
PRESET = {
    "image": {"crop_ratio": 0.5},
    "mixing": {"name": "toy", "share": 0.9},
    "loss": {"name": "cosface", "scale": 8},
    "backbone": {"frozen": True},
    "batch_sampler": {"name": "m_per_class", "m": 2},
}


def deadly_dataset(*, once: str, signal: int = SIGKILL) -> ToyDataset:
    """A toy data set whose reader sends its own process a signal, the first time only."""

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
        Component("dataset", "toy", "toys:dataset", "patterns with noise"),
        Component("dataset", "toy_pairs", "toys:paired_dataset", "patterns with noise, and pairs"),
        Component("dataset", "deadly", "toys:deadly_dataset", "dies once"),
        Component("augmentation", "jitter", "toys:jitter", "brightness"),
        Component("backbone", "toy", "toys:backbone", "two convolutions"),
        Component("loss", "nan", "toys:nan_loss", "never finite"),
        Component("loss", "crashing", "toys:crashing_loss", "a plugin's bug"),
        Component("loss", "killing", "toys:killing_loss", "ends its process"),
        Component("loss", "pair", "toys:pair_loss", "no class centres"),
        Component("mixing", "toy", "toys:mixing", "mixes neighbours"),
        Component("distiller", "toy", "toys:distiller", "squared distance"),
        Component("neck", "noisy", "toys:noisy_neck", "draws in training"),
        Component("recipe", "preset", "toys:preset_recipe", "brings sections along", preset=PRESET),
        Component("recipe", "full", "toys:full_recipe", "every field that is new"),
    ]

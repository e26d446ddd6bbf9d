"""The model of a case: backbone and neck, from pixels to embeddings, cut where training begins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from mlbench.contracts import Backbone, Neck
from mlbench.planning.spec import ComputeSettings, Spec
from mlbench.seeding import torch_seed

__all__ = [
    "EmbeddingModel",
    "Teacher",
    "build_model",
    "build_teacher",
    "built_size",
    "size_of",
    "state_hash",
    "statistics_kept",
]


class EmbeddingModel(nn.Module):
    """images -> `encode` -> inputs -> `embed` -> embeddings.

    `encode` is the frozen prefix of the backbone, so what it gives can be kept and used again; without
    a prefix it passes the images on. images: (N, 3, S, S) uint8.
    """

    def __init__(self, backbone: Backbone, neck: Neck, compute: ComputeSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.has_prefix = not _is_empty(backbone.frozen)
        self._checkpointing = compute.checkpointing
        self._normalise = _Normalise(backbone, compute)
        self.to(memory_format=self._normalise.memory_format)
        backbone.frozen.requires_grad_(False)
        if compute.compile:
            # What is called, each: a layer that is checkpointed is called by itself.
            trained = self._layers if compute.checkpointing else [backbone.trained]
            modules: list[Any] = [backbone.frozen, *trained, neck]
            for module in modules:
                module.compile()
        self.train()

    def train(self, mode: bool = True) -> EmbeddingModel:
        """As `torch.nn.Module.train`, but the frozen prefix stays in evaluation mode: the statistics of its
        norms would otherwise drift, and its output could not be kept."""
        super().train(mode)
        self.backbone.frozen.eval()
        return self

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """What the trained part takes: the frozen prefix's output, or the images as they are."""
        if not self.has_prefix:
            return images
        with torch.no_grad():
            features: torch.Tensor = self.backbone.frozen(self._normalise(images))
            return features

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D), of any length, of what `encode` gave."""
        features = inputs if self.has_prefix else self._normalise(inputs)
        if not (self._checkpointing and self.training and torch.is_grad_enabled()):
            return self.neck(self.backbone.trained(features))
        for layer in self._layers:
            features = _checkpointed(layer, features)
        return self.neck(features)

    @property
    def _layers(self) -> list[nn.Module]:
        """Of the trained part, one after the other."""
        trained = self.backbone.trained
        return list(trained) if isinstance(trained, nn.Sequential) else [trained]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) of images."""
        return self.embed(self.encode(images))

    def trained_state(self) -> dict[str, torch.Tensor]:
        """A copy, on the CPU, of what training changes: all but the frozen prefix."""
        return {
            name: value.detach().cpu().clone()
            for name, value in self.state_dict().items()
            if not name.startswith("backbone.frozen.")
        }

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `trained_state` gave."""
        self.load_state_dict(state, strict=False)

    def prefix_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor that `encode` depends on, by name."""
        return _tensors(self._normalise, self.backbone.frozen)


def _is_empty(prefix: nn.Module) -> bool:
    """Whether a module only passes on what it is given. A single layer has no children, yet does more."""
    return isinstance(prefix, nn.Identity) or (isinstance(prefix, nn.Sequential) and len(prefix) == 0)


class Teacher(nn.Module):
    """A backbone that stays as it is, and the mean over its map or its class token.

    In the place of an `EmbeddingModel`, it is a frozen prefix and nothing else: what `encode` gives can be
    kept. Images of another size are brought to its own.
    """

    has_prefix = True

    def __init__(self, backbone: Backbone, size: int, compute: ComputeSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = backbone.feature_shape.channels
        self._size = size
        self._normalise = _Normalise(backbone, compute)
        self.to(memory_format=self._normalise.memory_format)
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Teacher:
        """It stays in evaluation mode."""
        return super().train(False)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, S, S) uint8 to vectors (N, dim), of any length."""
        with torch.no_grad():
            pixels = self._normalise(images)
            if pixels.shape[-1] != self._size:
                shape = (self._size, self._size)
                pixels = interpolate(pixels, shape, mode="bilinear", align_corners=False, antialias=True)
            features: torch.Tensor = self.backbone(pixels)
            return features[:, 0] if features.ndim == 3 else features.mean((2, 3))

    def prefix_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor that `encode` depends on, by name."""
        backbone: Any = self.backbone
        return _tensors(self._normalise, backbone)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch and instance norms in `module` normalise by their batch inside the block but leave their running
    statistics, as they must when the same images go through a second time."""
    norms: list[Any] = [
        each
        for each in module.modules()
        if isinstance(each, nn.modules.batchnorm._NormBase) and each.num_batches_tracked is not None
    ]
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


class _Normalise(nn.Module):
    """Images (N, 3, S, S) in [0, 255] to what a backbone takes."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone, compute: ComputeSettings) -> None:
        super().__init__()
        # What convolutions are fastest with, CPU and CUDA alike, is channels last.
        self.memory_format = torch.channels_last if compute.channels_last else torch.contiguous_format
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(backbone.mean).view(shape) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(shape) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # One new tensor, changed in place: touching memory for the first time costs more than the sums.
        pixels = images.to(self.mean.dtype, copy=True, memory_format=self.memory_format)
        return pixels.sub_(self.mean).div_(self.std)


def _checkpointed(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    def forward(features: torch.Tensor) -> torch.Tensor:
        # A layer may write into its input (nn.ReLU(inplace=True)), which the second time needs as it was.
        result: torch.Tensor = layer(features.clone())
        return result

    again: torch.Tensor = checkpoint(
        forward, features, use_reentrant=False, context_fn=partial(_again, layer)
    )
    return again


def _again(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), statistics_kept(layer)


def _tensors(*modules: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, also those that no checkpoint holds."""
    for index, module in enumerate(modules):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield f"{index}.{name}", tensor


def built_size(spec: Spec, section: str) -> int:
    """Image size that the network of a section is built for: "backbone" or "teacher"."""
    image = spec.image
    return image.teacher_size or image.size if section == "teacher" else image.size


def build_model(spec: Spec, seed: int) -> EmbeddingModel:
    """The model of a case on the CPU; weights that are not loaded are drawn from `seed`.

    Backbone and neck draw apart, so that cases which differ in one share the other's start.
    """
    with torch_seed(seed, "backbone"):
        backbone = spec.parts["backbone"].component.build(built_size(spec, "backbone"))
    with torch_seed(seed, "neck"):
        neck = spec.parts["neck"].component.build(backbone.feature_shape)
    return EmbeddingModel(backbone, neck, spec.compute)


def build_teacher(spec: Spec, seed: int) -> Teacher | None:
    """The teacher of a case on the CPU, None where it has none."""
    if "distiller" not in spec.parts:
        return None
    size = built_size(spec, "teacher")
    with torch_seed(seed, "teacher"):
        return Teacher(spec.parts["teacher"].component.build(size), size, spec.compute)


def size_of(model: nn.Module) -> dict[str, int]:
    """Parameters, shared ones once, and the bytes that they take."""
    parameters = list(model.parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "bytes": sum(parameter.nbytes for parameter in parameters),
    }


def state_hash(tensors: Iterable[torch.Tensor]) -> str:
    """Hex SHA-256 of the values of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

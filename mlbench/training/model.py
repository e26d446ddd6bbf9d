"""The networks of a case: backbone and neck, cut into a frozen prefix and a trained part; the teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from mlbench.contracts import Backbone, Neck
from mlbench.planning.spec import ComputeSettings, Spec, check_features
from mlbench.seeding import torch_seed
from mlbench.training.contract_checks import check_built

__all__ = [
    "EmbeddingModel",
    "Encoder",
    "Section",
    "Teacher",
    "build_model",
    "build_teacher",
    "built_size",
    "size_of",
    "state_hash",
    "statistics_kept",
]


#: Sections of a suite that hold a network.
Section = Literal["backbone", "teacher"]


class Encoder(Protocol):
    """A network that may start with a frozen prefix: an `EmbeddingModel` or a `Teacher`."""

    has_prefix: bool

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """The frozen prefix's output, of images (N, 3, S, S) uint8."""
        ...

    def prefix_tensors(self) -> Iterable[tuple[str, torch.Tensor]]:
        """Every tensor that `encode` depends on, by name."""
        ...


class EmbeddingModel(nn.Module):
    """images -> `encode` -> inputs -> `embed` -> embeddings.

    `encode` is the frozen prefix of the backbone, whose output can be cached; without a prefix it returns the
    images. images: (N, 3, S, S) uint8. Nothing is compiled before `compile_parts`.
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
        self.train()

    def compile_parts(self) -> None:
        """Have torch.compile compile the parts at their next call."""
        # Checkpointing calls each layer by itself.
        trained = self._layers if self._checkpointing else [self.backbone.trained]
        modules: list[Any] = [self.backbone.frozen, *trained, self.neck]
        for module in modules:
            module.compile()

    def train(self, mode: bool = True) -> EmbeddingModel:
        """As `torch.nn.Module.train`, but the frozen prefix stays in evaluation mode: the running statistics
        of its norms would change, and its output could not be cached."""
        super().train(mode)
        self.backbone.frozen.eval()
        return self

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs of the trained part: the frozen prefix's output, or the images without a prefix."""
        if not self.has_prefix:
            return images
        with torch.no_grad():
            features: torch.Tensor = self.backbone.frozen(self._normalise(images))
            return features

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D), of any length, of the output of `encode`."""
        features = inputs if self.has_prefix else self._normalise(inputs)
        if not (self._checkpointing and self.training and torch.is_grad_enabled()):
            return self.neck(self.backbone.trained(features))
        for layer in self._layers:
            features = _checkpointed(layer, features)
        return self.neck(features)

    @property
    def _layers(self) -> list[nn.Module]:
        """Layers of the trained part, in order."""
        trained = self.backbone.trained
        return list(trained) if isinstance(trained, nn.Sequential) else [trained]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) of images."""
        return self.embed(self.encode(images))

    def trained_state(self) -> dict[str, torch.Tensor]:
        """A copy, on the CPU, of the state without the frozen prefix."""
        return {
            name: value.detach().cpu().clone()
            for name, value in self.state_dict().items()
            if not name.startswith("backbone.frozen.")
        }

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Load the output of `trained_state`."""
        self.load_state_dict(state, strict=False)

    def prefix_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor that `encode` depends on, by name."""
        return _tensors(self._normalise, self.backbone.frozen)


def _is_empty(prefix: nn.Module) -> bool:
    """Whether a module returns its input. A single layer has no children either, but is not empty."""
    return isinstance(prefix, nn.Identity) or (isinstance(prefix, nn.Sequential) and len(prefix) == 0)


class Teacher(nn.Module):
    """A frozen backbone, with the mean over its map or its class token as output.

    All of it is the frozen prefix, so that the output of `encode` can be cached. Images of another size are
    resized.
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
        """A teacher stays in evaluation mode."""
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
    """Inside the block, batch and instance norms in `module` normalise by their batch without changing their
    running statistics, for a second pass over the same images."""
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
    """Normalises images (N, 3, S, S) in [0, 255] for a backbone."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone, compute: ComputeSettings) -> None:
        super().__init__()
        # Convolutions are fastest with channels last, on the CPU and on CUDA.
        self.memory_format = torch.channels_last if compute.channels_last else torch.contiguous_format
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(backbone.mean).view(shape) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(shape) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # One new tensor, changed in place: touching new memory takes longer than the arithmetic.
        pixels = images.to(self.mean.dtype, copy=True, memory_format=self.memory_format)
        return pixels.sub_(self.mean).div_(self.std)


def _checkpointed(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    def forward(features: torch.Tensor) -> torch.Tensor:
        # The second pass needs the input unchanged, and a layer may write into it (nn.ReLU(inplace=True)).
        result: torch.Tensor = layer(features.clone())
        return result

    again: torch.Tensor = checkpoint(
        forward, features, use_reentrant=False, context_fn=partial(_again, layer)
    )
    return again


def _again(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), statistics_kept(layer)


def _tensors(*modules: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, also those that are in no checkpoint."""
    for index, module in enumerate(modules):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield f"{index}.{name}", tensor


def built_size(spec: Spec, section: Section) -> int:
    """Image size that the network of a section is built for."""
    image = spec.image
    return image.teacher_size or image.size if section == "teacher" else image.size


def build_model(spec: Spec, seed: int) -> EmbeddingModel:
    """The model of a case on the CPU; weights that are not loaded are drawn from `seed`.

    Backbone and neck have generators of their own, so that cases with the same backbone start with the same
    weights of it. An MlbenchError names the place of the component in the suite file.
    """
    backbone_part, neck_part = spec.parts["backbone"], spec.parts["neck"]
    with backbone_part.located(), torch_seed(seed, "backbone"):
        built = backbone_part.component.build(built_size(spec, "backbone"))
        backbone: Backbone = check_built(backbone_part, built)
    with neck_part.located(), torch_seed(seed, "neck"):
        check_features(neck_part, backbone.feature_shape)
        neck: Neck = check_built(neck_part, neck_part.component.build(backbone.feature_shape))
    return EmbeddingModel(backbone, neck, spec.compute)


def build_teacher(spec: Spec, seed: int) -> Teacher | None:
    """The teacher of a case on the CPU, None for a case without one. Errors as of `build_model`."""
    if "distiller" not in spec.parts:
        return None
    part, size = spec.parts["teacher"], built_size(spec, "teacher")
    with part.located(), torch_seed(seed, "teacher"):
        return Teacher(check_built(part, part.component.build(size)), size, spec.compute)


def size_of(model: nn.Module) -> dict[str, int]:
    """Number of parameters, shared ones counted once, and their bytes."""
    parameters = list(model.parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "bytes": sum(parameter.nbytes for parameter in parameters),
    }


def state_hash(tensors: Iterable[torch.Tensor]) -> str:
    """Hex SHA-256 of the values of the tensors, in their order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""The model of a case: backbone and neck, from pixels to embeddings, cut where training begins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import nn

from mlbench.contracts import Backbone, Neck
from mlbench.seeding import torch_seed
from mlbench.suite import Spec

__all__ = ["EmbeddingModel", "build_model", "size_of", "state_hash"]


class EmbeddingModel(nn.Module):
    """images -> `encode` -> inputs -> `embed` -> embeddings.

    `encode` is the frozen prefix of the backbone, so what it gives can be kept and used again; without
    a prefix it passes the images on. images: (N, 3, S, S) uint8.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: Backbone, neck: Neck) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.has_prefix = next(iter(backbone.frozen.children()), None) is not None
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(backbone.mean).view(shape) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(shape) * 255, persistent=False)
        self.to(memory_format=torch.channels_last)  # what convolutions are fastest with, CPU and CUDA alike
        backbone.frozen.requires_grad_(False)
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
            features: torch.Tensor = self.backbone.frozen(self._normalised(images))
            return features

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D), of any length, of what `encode` gave."""
        features = inputs if self.has_prefix else self._normalised(inputs)
        return self.neck(self.backbone.trained(features))

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

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.to(self.mean.dtype).contiguous(memory_format=torch.channels_last)
        return (pixels - self.mean) / self.std


def build_model(spec: Spec, seed: int) -> EmbeddingModel:
    """The model of a case on the CPU; weights that are not loaded are drawn from `seed`.

    Backbone and neck draw apart, so that cases which differ in one share the other's start.
    """
    with torch_seed(seed, "backbone"):
        backbone = spec.parts["backbone"].build(image_size=spec.image.size)
    with torch_seed(seed, "neck"):
        neck = spec.parts["neck"].build(feature_shape=backbone.feature_shape)
    return EmbeddingModel(backbone, neck)


def size_of(model: nn.Module) -> dict[str, int]:
    """Parameters, shared ones once, and their bytes in float32."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "bytes": 4 * parameters}


def state_hash(tensors: Iterable[torch.Tensor]) -> str:
    """Hex SHA-256 of the values of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""The deployed model: from uint8 images to embeddings of unit length, cut to a nested width where asked."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

__all__ = ["CutModel", "Deployed"]


class CutModel(nn.Module):
    """Images to the first `width` numbers of the embeddings of a model (arXiv:2205.13147), of any length."""

    def __init__(self, model: nn.Module, width: int) -> None:
        super().__init__()
        self.model = model
        self.width = width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, width) of images (N, 3, S, S) uint8."""
        embeddings: torch.Tensor = self.model(images)
        return embeddings[:, : self.width]


class Deployed(nn.Module):
    """Images (N, 3, S, S) uint8 to embeddings (N, D) float32 of unit length."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return normalize(self.model(images).float())

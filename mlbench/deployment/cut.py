"""A model that is cut to a nested width of its embeddings."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CutModel"]


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

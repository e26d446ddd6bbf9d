"""The deployed model: from uint8 images to embeddings of unit length, cut to a nested width where asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from mlbench.errors import StoreError, first_line

__all__ = ["CutModel", "Deployed", "embedded"]


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


def embedded(model: nn.Module, images: np.ndarray, file: Path) -> np.ndarray:
    """Embeddings (N, D) of images (N, 3, S, S) uint8 by the model of a file. Raises StoreError."""
    try:
        with torch.inference_mode():
            embeddings: np.ndarray = model(torch.from_numpy(images)).numpy()
    # Programs and components raise errors of any type.
    except Exception as error:
        raise StoreError(f"{file}: cannot embed images {images.shape} ({first_line(error)})") from None
    return embeddings

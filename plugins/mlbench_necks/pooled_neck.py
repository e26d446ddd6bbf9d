"""The module that the neck `pooled` builds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mlbench.plugin import Features, TokensShape

__all__ = ["PooledNeck"]


class PooledNeck(nn.Module):
    """Maps (N, C, h, w) float, or sequences (N, tokens + h * w, C), to embeddings (N, C) float32, of unit
    length where `normalise`."""

    def __init__(self, shape: Features, dropout: float, *, normalise: bool = True) -> None:
        super().__init__()
        self.dim = shape.channels
        self.tokens = shape.tokens if isinstance(shape, TokensShape) else None
        self.normalise = normalise
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        places = features.flatten(2) if self.tokens is None else features[:, self.tokens :].mT
        embeddings = self.dropout(places.mean(2)).float()
        return F.normalize(embeddings) if self.normalise else embeddings

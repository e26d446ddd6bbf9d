"""Embedding: all images of a split through a trained model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY
from mlbench.features import ENCODE_BATCH, Inputs
from mlbench.model import EmbeddingModel
from mlbench.reading import batched

__all__ = ["Embeddings", "embed"]


@dataclass(frozen=True)
class Embeddings:
    """Embedded images: vectors (N, D) float32 of unit length, labels (N,) int64, and whether each image
    may ask (queries) or be found (gallery), (N,) bool."""

    vectors: torch.Tensor
    labels: torch.Tensor
    queries: torch.Tensor
    gallery: torch.Tensor


def embed(model: EmbeddingModel, inputs: Inputs, fabric: Fabric) -> Embeddings:
    """Embeddings of a split, in evaluation mode, on the device."""
    was_training = model.training
    model.eval()
    chunks = []
    with torch.no_grad():
        for batch in inputs.batches(batched(len(inputs.split), ENCODE_BATCH)):
            with fabric.autocast():
                chunks.append(normalize(model.embed(batch).float()))
    model.train(was_training)
    device = fabric.device
    roles = torch.from_numpy(inputs.roles).to(device)
    return Embeddings(
        torch.cat(chunks),
        torch.from_numpy(inputs.labels).to(device),
        (roles & QUERY) > 0,
        (roles & GALLERY) > 0,
    )

"""Embedding: all images of a split through a trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY
from mlbench.evaluation.embeddings import Embeddings, comparable
from mlbench.training.features import ENCODE_BATCH, Inputs
from mlbench.training.model import EmbeddingModel
from mlbench.training.reading import batched

__all__ = ["as_array", "embed"]


def embed(model: EmbeddingModel, inputs: Inputs, fabric: Fabric, name: str) -> Embeddings:
    """Embeddings of a split, in evaluation mode: float32 of unit length, where they can be compared (see
    `comparable`). name: of the split, for messages."""
    was_training = model.training
    model.eval()
    chunks = []
    with torch.no_grad():
        for batch in inputs.batches(batched(len(inputs.split), ENCODE_BATCH)):
            with fabric.autocast():
                chunks.append(normalize(model.embed(batch).float()))
    model.train(was_training)
    return Embeddings(
        comparable(torch.cat(chunks)),
        inputs.labels,
        (inputs.roles & QUERY) > 0,
        (inputs.roles & GALLERY) > 0,
        name,
        groups=inputs.groups,
    )


def as_array(embeddings: Embeddings) -> np.ndarray:
    """The vectors (N, D) float32 of `embed`, on the CPU."""
    vectors: Any = embeddings.vectors
    return vectors if isinstance(vectors, np.ndarray) else vectors.cpu().numpy()

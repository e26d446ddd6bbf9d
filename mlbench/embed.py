"""Embedding: all images of a split through a trained model."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY
from mlbench.embeddings import Embeddings
from mlbench.features import ENCODE_BATCH, Inputs
from mlbench.model import EmbeddingModel
from mlbench.reading import batched

__all__ = ["embed"]


def embed(model: EmbeddingModel, inputs: Inputs, fabric: Fabric, name: str) -> Embeddings:
    """Embeddings of a split, in evaluation mode: float32 of unit length, an array on the CPU, else a tensor
    on the device. name: of the split, for messages."""
    was_training = model.training
    model.eval()
    chunks = []
    with torch.no_grad():
        for batch in inputs.batches(batched(len(inputs.split), ENCODE_BATCH)):
            with fabric.autocast():
                chunks.append(normalize(model.embed(batch).float()))
    model.train(was_training)
    vectors = torch.cat(chunks)
    return Embeddings(
        vectors.numpy() if vectors.device.type == "cpu" else vectors,
        inputs.labels,
        (inputs.roles & QUERY) > 0,
        (inputs.roles & GALLERY) > 0,
        name,
    )

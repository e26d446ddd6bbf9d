"""Embeddings of all images of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.nn.functional import normalize

from mlbench.contracts import GALLERY, QUERY, SplitName
from mlbench.evaluation.embeddings import Embeddings, comparable
from mlbench.training.image_reader import batched
from mlbench.training.input_cache import InputCache
from mlbench.training.inputs import ENCODE_BATCH, InputSpec, SplitInputs
from mlbench.training.model import EmbeddingModel

__all__ = ["Embedder", "embed", "with_labels"]


class Embedder:
    """Embeds splits of a case with the current weights of its model.

    spec: of the inputs, without augmentation. cache: inputs of the model.
    """

    def __init__(self, model: EmbeddingModel, cache: InputCache, spec: InputSpec, fabric: Fabric) -> None:
        self._model = model
        self._cache = cache
        self._spec = spec
        self._fabric = fabric
        self._inputs: dict[SplitName, SplitInputs] = {}

    def inputs(self, split: SplitName) -> SplitInputs:
        """Inputs of a split, cached at the first call."""
        if split not in self._inputs:
            self._inputs[split] = self._cache.get(split, self._spec)
        return self._inputs[split]

    def __call__(self, split: SplitName) -> Embeddings:
        return embed(self._model, self.inputs(split), self._fabric, split)

    def array(self, split: SplitName) -> np.ndarray:
        """Embeddings (N, D) float32 of a split, on the CPU."""
        vectors: Any = self(split).vectors
        return vectors if isinstance(vectors, np.ndarray) else vectors.cpu().numpy()


def embed(model: EmbeddingModel, inputs: SplitInputs, fabric: Fabric, name: str) -> Embeddings:
    """Embeddings of a split by the model in evaluation mode: float32 of unit length, where they can be
    compared (see `comparable`). name: of the split, for messages."""
    was_training = model.training
    model.eval()
    chunks = []
    with torch.no_grad():
        for batch in inputs.batches(batched(len(inputs.split), ENCODE_BATCH)):
            with fabric.autocast():
                chunks.append(normalize(model.embed(batch).float()))
    model.train(was_training)
    return with_labels(comparable(torch.cat(chunks)), inputs, name)


def with_labels(vectors: Any, inputs: SplitInputs, name: str) -> Embeddings:
    """Vectors (N, D) float32 of unit length with the labels, roles and groups of their images. name: of the
    split, for messages."""
    queries, gallery = (inputs.roles & QUERY) > 0, (inputs.roles & GALLERY) > 0
    return Embeddings(vectors, inputs.labels, queries, gallery, name, groups=inputs.groups)

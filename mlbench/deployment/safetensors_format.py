"""Weights of the deployed model in the safetensors format, with the settings that rebuild the model.

from mlbench.deployment.safetensors_format import load_model
model = load_model("model.safetensors")  # images (N, 3, S, S) uint8 to embeddings (N, D) of unit length
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from mlbench.deployment.card import Card
from mlbench.deployment.deployed import CutModel, Deployed, embedded
from mlbench.deployment.model_file import Draft
from mlbench.errors import StoreError, first_line
from mlbench.planning.network import NETWORK, network_spec
from mlbench.planning.plan import Case
from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench.training.model import build_model

__all__ = ["SafetensorsFormat", "WeightsSession", "load_model"]

#: Name of the settings in the metadata, a JSON object.
_SETTINGS = "settings"


class SafetensorsFormat:
    """See `mlbench.deployment.model_file.Format`. registry: of the model's components, None for the installed
    ones."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry

    def draft(self, model: nn.Module, case: Case) -> Draft:
        whole = model.model if isinstance(model, CutModel) else model
        tensors = {name: each.detach().contiguous().clone() for name, each in _tensors(whole)}
        plain = case.spec.plain()
        settings = json.dumps({name: plain[name] for name in NETWORK}, sort_keys=True)

        def content(metadata: Mapping[str, str]) -> bytes:
            return _with_metadata(save(tensors), {**metadata, _SETTINGS: settings})

        open_file = partial(WeightsSession, registry=self._registry)
        return Draft(name="safetensors", end=".safetensors", content=content, open=open_file)

    def open(self, file: Path, threads: int | None) -> WeightsSession:
        return WeightsSession(file, threads, registry=self._registry)


class WeightsSession:
    """A rebuilt model in torch, on the CPU. See `mlbench.deployment.model_file.Session`."""

    def __init__(self, file: Path, threads: int | None = None, *, registry: Registry | None = None) -> None:
        self.file = file
        if threads is not None:
            torch.set_num_threads(threads)
        self.card = Card.read(_metadata(file), str(file))
        self._model = load_model(file, registry=registry)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return embedded(self._model, images, self.file)


def load_model(
    file: str | Path, *, registry: Registry | None = None, changes: Mapping[str, Any] | None = None
) -> nn.Module:
    """The deployed model of a file: images (N, 3, S, S) uint8 to embeddings (N, D) float32 of unit length, in
    evaluation mode, on the CPU.

    registry: of its components, None for the installed ones. changes: settings to change by their names, such
    as {"backbone.weights": "none"} where the initial weights, which the file's replace, are not at hand.

    Raises StoreError for a file that is missing, was not written by mlbench export or holds another model,
    SuiteError for components that are not installed.
    """
    file = Path(file)
    metadata = _metadata(file)
    card = Card.read(metadata, str(file))
    try:
        settings = json.loads(metadata[_SETTINGS])
    except (KeyError, ValueError):
        raise StoreError(f"{file}: has no settings of a model; write it anew with mlbench export") from None
    registry = Registry(load_plugins()) if registry is None else registry
    spec = network_spec(card.case, settings, str(file), registry, changes or {})
    model = build_model(spec, card.seed).eval()
    with safe_open(file, "pt") as stored, torch.no_grad():
        own = dict(_tensors(model))
        expected = {name: list(tensor.shape) for name, tensor in own.items()}
        if expected != {name: stored.get_slice(name).get_shape() for name in stored.keys()}:  # noqa: SIM118
            raise StoreError(f"{file}: holds another model than its settings now describe")
        for name, tensor in own.items():
            tensor.copy_(stored.get_tensor(name))
    width = card.width
    cut = width is not None and width < model.neck.dim
    return Deployed(CutModel(model, width) if cut and width else model).eval()


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that the model computes with, also the buffers that checkpoints leave out."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _metadata(file: Path) -> dict[str, str]:
    """Raises StoreError for a file that is missing or no safetensors file."""
    try:
        with safe_open(file, "pt") as stored:
            return dict(stored.metadata() or {})
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise StoreError(f"{file}: is no safetensors file ({first_line(error)})") from None


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with this metadata in a fixed order, which the library does not keep.

    A file is the length of its header (8 bytes), the header (JSON, padded to 8 bytes), and the values.
    """
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    text = json.dumps({"__metadata__": dict(sorted(metadata.items())), **header}, separators=(",", ":"))
    written = text.encode()
    written += b" " * (-len(written) % 8)
    return struct.pack("<Q", len(written)) + written + data[8 + length :]

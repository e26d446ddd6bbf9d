"""Exported programs of torch.export (.pt2), which run with torch alone: no code of the model is needed."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mlbench.deployment.card import Card
from mlbench.deployment.deployed import Deployed, embedded
from mlbench.deployment.model_file import Draft
from mlbench.errors import ExportError, StoreError, first_line
from mlbench.planning.plan import Case

__all__ = ["Pt2Format", "Pt2Session", "to_pt2"]

#: The extra file of the archive with the metadata, a JSON object of texts.
_METADATA = "mlbench.json"

#: What the exporter knows of each operator besides the operator: lines of source code, paths and class names.
_ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn")


class Pt2Format:
    """See `mlbench.deployment.model_file.Format`."""

    def draft(self, model: nn.Module, case: Case) -> Draft:
        program = to_pt2(model, case.spec.image.size)

        def content(metadata: Mapping[str, str]) -> bytes:
            buffer = io.BytesIO()
            texts = json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False)
            with _silent():
                torch.export.save(program, buffer, extra_files={_METADATA: texts})
            return buffer.getvalue()

        return Draft(name="pt2", end=".pt2", content=content, open=Pt2Session)

    def open(self, file: Path, threads: int | None) -> Pt2Session:
        return Pt2Session(file, threads)


class Pt2Session:
    """An exported program in torch, on the CPU. See `mlbench.deployment.model_file.Session`."""

    def __init__(self, file: Path, threads: int | None = None) -> None:
        self.file = file
        if threads is not None:
            torch.set_num_threads(threads)
        extra: dict[str, Any] = {_METADATA: ""}
        try:
            with _silent():
                program = torch.export.load(io.BytesIO(file.read_bytes()), extra_files=extra)
                self._model = program.module()
        except OSError as error:
            raise StoreError(f"{file}: cannot be read ({error.strerror or error})") from None
        # torch raises errors of many types for damaged files.
        except Exception as error:
            raise StoreError(f"{file}: is no program of torch.export ({first_line(error)})") from None
        self._metadata = str(extra[_METADATA])

    @property
    def card(self) -> Card:
        try:
            metadata = json.loads(self._metadata or "{}")
        except ValueError:
            metadata = {}
        return Card.read(metadata if isinstance(metadata, dict) else {}, str(self.file))

    def embed(self, images: np.ndarray) -> np.ndarray:
        return embedded(self._model, images, self.file)


def to_pt2(model: nn.Module, image_size: int) -> torch.export.ExportedProgram:
    """The program of `model` and of the normalisation of its embeddings. model: see `Format.draft`. Raises
    ExportError."""
    training = model.training
    deployed = Deployed(model).eval()
    # Two images: for one, the exporter makes the batch size a constant.
    images = torch.zeros((2, 3, image_size, image_size), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    try:
        with torch.no_grad(), _silent():
            program = torch.export.export(deployed, (images,), dynamic_shapes=({0: batch},), strict=False)
    # The exporter runs the model's code symbolically and raises errors of many types.
    except Exception as error:
        cause = error.__cause__ or error
        raise ExportError(f"this model cannot be exported by torch.export ({first_line(cause)})") from error
    finally:
        model.train(training)
    foreign = {
        str(node.target)
        for node in program.graph.nodes
        if node.op == "call_function" and _namespace(node.target) not in ("aten", "")
    }
    if foreign:
        names = ", ".join(sorted(foreign))
        raise ExportError(f"this model has operators that torch alone does not have ({names})")
    for node in program.graph.nodes:
        for origin in _ORIGINS:
            node.meta.pop(origin, None)
    return program


def _namespace(target: Any) -> str:
    """The library of an operator, "aten" for torch; "" for functions of Python."""
    return getattr(target, "namespace", "")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress torch's warnings, which users cannot act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

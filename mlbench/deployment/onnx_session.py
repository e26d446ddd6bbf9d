"""A model file in ONNX Runtime: from uint8 images to embeddings, without torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.deployment.card import Card
from mlbench.deployment.onnx_packages import check_runtime
from mlbench.errors import StoreError, first_line

__all__ = ["OnnxSession"]


class OnnxSession:
    """A model file that can be run. threads: None for all cores.

    Raises StoreError when there is no such file or it is no ONNX model, ExportError without ONNX Runtime.
    """

    def __init__(self, file: Path, threads: int | None = None) -> None:
        check_runtime()
        import onnxruntime

        self.file = file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Its threads would keep the cores busy for a while after each batch, whatever else is to run there.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            data = file.read_bytes()
        except OSError as error:
            raise StoreError(f"{file}: cannot be read ({error.strerror or error})") from None
        try:
            self._session: Any = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime has a type for each of its many errors.
        except Exception as error:
            raise StoreError(f"{file}: is no ONNX model that can be run ({first_line(error)})") from None

    @cached_property
    def card(self) -> Card:
        """What the file says of itself. Raises StoreError where mlbench did not write it."""
        return Card.read(self._session.get_modelmeta().custom_metadata_map, str(self.file))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length, of images (N, 3, S, S) uint8.

        Raises StoreError when the model fails on them.
        """
        try:
            embeddings: np.ndarray = self._session.run(["embeddings"], {"images": images})[0]
        # ONNX Runtime has a type for each of its many errors.
        except Exception as error:
            raise StoreError(
                f"{self.file}: cannot embed images {images.shape} ({first_line(error)})"
            ) from None
        return embeddings

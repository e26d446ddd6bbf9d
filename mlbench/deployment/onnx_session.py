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
    """A model file in ONNX Runtime. threads: None for all cores.

    Raises StoreError for a file that is missing or no ONNX model, ExportError without ONNX Runtime.
    """

    def __init__(self, file: Path, threads: int | None = None) -> None:
        check_runtime()
        import onnxruntime

        self.file = file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Spinning threads would keep the cores busy for a while after each batch.
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
        # ONNX Runtime raises errors of many types.
        except Exception as error:
            raise StoreError(f"{file}: is no ONNX model that can be run ({first_line(error)})") from None

    @cached_property
    def card(self) -> Card:
        """The card in the file. Raises StoreError for a file that mlbench did not write."""
        return Card.read(self._session.get_modelmeta().custom_metadata_map, str(self.file))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length, of images (N, 3, S, S) uint8.

        Raises StoreError for a model that fails on them.
        """
        try:
            embeddings: np.ndarray = self._session.run(["embeddings"], {"images": images})[0]
        # ONNX Runtime raises errors of many types.
        except Exception as error:
            raise StoreError(
                f"{self.file}: cannot embed images {images.shape} ({first_line(error)})"
            ) from None
        return embeddings

"""ONNX files, which ONNX Runtime runs without torch; with float32 or 8-bit weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.deployment.model_file import Draft
from mlbench.deployment.onnx_session import OnnxSession

if TYPE_CHECKING:
    from torch import nn

    from mlbench.planning.plan import Case

__all__ = ["INT8", "OnnxFormat", "quantised"]

#: End of the names of int8 files.
INT8 = "-int8.onnx"


class OnnxFormat:
    """See `mlbench.deployment.model_file.Format`."""

    def draft(self, model: nn.Module, case: Case) -> Draft:
        from mlbench.deployment.onnx_model import to_onnx, with_metadata

        graph = to_onnx(model, case.spec.image.size)
        return Draft(name="onnx", end=".onnx", content=partial(with_metadata, graph), open=OnnxSession)

    def open(self, file: Path, threads: int | None) -> OnnxSession:
        return OnnxSession(file, threads)


def quantised(draft: Draft) -> Draft:
    """The draft of an ONNX file with its weights in 8 bits."""
    from mlbench.deployment.onnx_model import to_int8, with_metadata

    graph = to_int8(draft.content({}))
    return replace(draft, name="int8", end=INT8, content=partial(with_metadata, graph), precision="int8")

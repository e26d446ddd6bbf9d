"""The formats of model files by name, and the opening of a file by its suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.deployment.model_file import Format, Session
from mlbench.deployment.onnx_packages import check_exporter
from mlbench.errors import ExportError

if TYPE_CHECKING:
    from mlbench.registry import Registry

__all__ = ["FORMATS", "check_formats", "find_format", "open_model"]

#: Suffix of the files of each format, by the format's name.
FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors"}


def check_formats(names: Sequence[str], *, int8: bool) -> None:
    """Raise ExportError for formats whose packages are not installed, and for int8 without ONNX."""
    if int8 and "onnx" not in names:
        raise ExportError(f"--int8 is of ONNX files, and the format is {', '.join(names)}; add --format onnx")
    if "onnx" in names:  # the others need what mlbench itself needs
        check_exporter()


def find_format(name: str, registry: Registry | None = None) -> Format:
    """The format called `name`, imported when it is asked for. registry: for components of the model; None
    for the installed ones."""
    if name == "onnx":
        from mlbench.deployment.onnx_format import OnnxFormat

        return OnnxFormat()
    if name == "pt2":
        from mlbench.deployment.pt2_format import Pt2Format

        return Pt2Format()
    from mlbench.deployment.safetensors_format import SafetensorsFormat

    return SafetensorsFormat(registry)


def open_model(file: Path, threads: int | None = None, registry: Registry | None = None) -> Session:
    """A model file in the runtime of its format. threads: None for all cores; registry: see `find_format`.

    A file with another suffix is taken for ONNX. Raises StoreError for a file that is missing or no model,
    ExportError without the packages that run it.
    """
    name = next((name for name, suffix in FORMATS.items() if file.suffix == suffix), "onnx")
    return find_format(name, registry).open(file, threads)

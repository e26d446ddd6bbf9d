"""Checks for the packages of the extra "export"."""

from __future__ import annotations

from importlib.util import find_spec

from mlbench.errors import ExportError, first_line

__all__ = ["check_exporter", "check_runtime"]


def check_exporter() -> None:
    """Raise ExportError unless all packages for an export are installed."""
    _check("an export", "onnx", "onnxscript", "onnxruntime")


def check_runtime() -> None:
    """Raise ExportError unless ONNX Runtime, which runs model files, is installed."""
    _check("a model file", "onnxruntime")


def _check(what: str, *packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ExportError(f"{what} needs {', '.join(missing)}; install with: pip install 'mlbench[export]'")
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:  # installed, and broken
        raise ExportError(
            f"{what} needs onnxruntime, which cannot be imported ({first_line(error)})"
        ) from None

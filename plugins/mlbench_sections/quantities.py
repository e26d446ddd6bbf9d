"""Quantities of the page: what mlbench measures of a model, with headings and units for readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlbench.plugin import Figure, metric_text

__all__ = ["MEASURES", "Measure", "figure_text", "measure_text", "range_text"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A speed, memory peak or size. unit: what its value is divided by for the heading. form: of the text."""

    heading: str
    unit: float = 1
    form: str = ",.0f"


#: By name, in the order of their columns.
MEASURES: Mapping[str, Measure] = {
    "bytes": Measure("MB", 1e6, ",.2f"),
    "images_per_second": Measure("images/s"),
    "latency_p50": Measure("ms for one", 1, ",.1f"),
    "latency_p95": Measure("ms for one, p95", 1, ",.1f"),
    "peak_cuda": Measure("peak CUDA MB", 1e6),
    "peak_cpu": Measure("peak CPU MB", 1e6),
    "peak_host": Measure("peak MB", 1e6),
    "training_images_per_second": Measure("trained/s"),
    "training_peak_cuda": Measure("training peak CUDA MB", 1e6),
    "training_peak_cpu": Measure("training peak CPU MB", 1e6),
    "training_peak_host": Measure("training peak MB", 1e6),
    "onnx_images_per_second": Measure("ONNX/s"),
    "parameters": Measure("parameters"),
    "flops": Measure("GFLOPs", 1e9, ",.3f"),
    "centres": Measure("centres"),
    "centres_bytes": Measure("centres MB", 1e6, ",.2f"),
    "teacher": Measure("teacher parameters"),
    "teacher_bytes": Measure("teacher MB", 1e6, ",.2f"),
    "checkpoint_float32": Measure("checkpoint MB", 1e6, ",.2f"),
    "checkpoint_float16": Measure("float16 MB", 1e6, ",.2f"),
    "onnx": Measure("ONNX MB", 1e6, ",.2f"),
}


def figure_text(figure: Figure) -> str:
    """The mean of a metric with its spread over seeds: "0.912 ±.004"."""
    text = metric_text(figure.value)
    return text if figure.spread is None else f"{text} ±{_short(figure.spread, figure.value)}"


def range_text(figure: Figure) -> str:
    """The interval of a metric: "[.901–.923]"; "" without one."""
    if figure.low is None or figure.high is None:
        return ""
    return f"[{_short(figure.low, figure.value)}–{_short(figure.high, figure.value)}]"


def measure_text(name: str, figure: Figure) -> str:
    """A speed, peak or size in the unit of its heading; "~" before one of a disturbed machine."""
    measure = MEASURES[name]
    return f"{'~' if figure.disturbed else ''}{figure.value / measure.unit:{measure.form}}"


def _short(value: float, like: float) -> str:
    return metric_text(value, like=like).removeprefix("0")

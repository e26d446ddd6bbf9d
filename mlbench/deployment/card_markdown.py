"""Pieces of Markdown of a model card: numbers, tables, texts without the folders of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlbench.records.record import Estimate
from mlbench.records.report import metric_text

__all__ = [
    "bare",
    "interval_of",
    "interval_text",
    "table_lines",
    "threads_text",
    "value_text",
    "without_folders",
]


def value_text(each: Estimate) -> str:
    return metric_text(each.value, 4) if each.value is not None else f"– ({each.note})" if each.note else "–"


def interval_of(each: Estimate) -> str:
    return interval_text(each.low, each.high, each.value)


def interval_text(low: float | None, high: float | None, like: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"{metric_text(low, 4, like)} – {metric_text(high, 4, like)}"


def threads_text(machine: Mapping[str, Any]) -> str:
    """The threads of a machine in words."""
    count = machine.get("threads")
    return f"{count} thread{'' if count == 1 else 's'}"


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines]


def without_folders(value: Any) -> Any:
    """Settings without the folders of the machine."""
    if isinstance(value, Mapping):
        return {name: without_folders(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    return bare(value) if isinstance(value, str) else value


def bare(text: str) -> str:
    """A text without the folders of absolute paths, which are nobody's business."""
    return re.sub(r"(?<![\w:/.])/(?:[^/\s]+/)+(?=[^/\s])", "", text)

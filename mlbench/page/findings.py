"""Findings of single images: the details of a case's evaluation, and its images, for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.page.images import ImageSource

__all__ = ["CaseFindings"]


@dataclass(frozen=True)
class CaseFindings:
    """What the evaluation of one case found out about single images.

    case, seed: of the record, that of the median seed. record: its metrics and evaluation. details: see
    `mlbench.evaluation.details.Details`. split: the images, None where they cannot be read; then `why` says
    why. name: the file or another name of an image, by its index."""

    case: str
    seed: int
    record: Any
    details: Any
    split: ImageSource | None = None
    why: str = ""
    name: Callable[[int], str] = str
    classes: Mapping[int, str] | None = None

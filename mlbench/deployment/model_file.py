"""A model file: what each format makes of a model, and how its files are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from mlbench.deployment.card import Card
    from mlbench.planning.plan import Case

__all__ = ["Draft", "Format", "Session"]


class Session(Protocol):
    """An opened model file."""

    @property
    def file(self) -> Path: ...

    @property
    def card(self) -> Card:
        """The card in the file. Raises StoreError for a file that mlbench did not write."""
        ...

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float32 of unit length, of images (N, 3, S, S) uint8, on the CPU. Raises
        StoreError for a model that fails on them."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A model file before it is written.

    name: of the format, or "int8". end: of the file's name. precision: "float32" or "int8". content: the
    file's bytes with this metadata; the same metadata give the same bytes. open: a written file, on so many
    threads (None for all cores).
    """

    name: str
    end: str
    content: Callable[[Mapping[str, str]], bytes]
    open: Callable[[Path, int | None], Session]
    precision: str = "float32"


class Format(Protocol):
    """A format of model files."""

    def draft(self, model: nn.Module, case: Case) -> Draft:
        """A draft of a file that computes the same as `model` in evaluation mode, for any batch size.

        model: images (N, 3, S, S) uint8 in [0, 255] to embeddings (N, D) of any length, in float32 on the
        CPU, not compiled. Raises ExportError.
        """
        ...

    def open(self, file: Path, threads: int | None) -> Session:
        """Raises StoreError for a file that is missing or has another format, ExportError without the
        packages that run it."""
        ...

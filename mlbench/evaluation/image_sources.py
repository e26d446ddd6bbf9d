"""Sources of embeddings: the image files that the rows of a file of embeddings were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.errors import DataError
from mlbench.evaluation.embedding_files import read_columns, read_provenance
from mlbench.evaluation.labels import LABEL_COLUMNS
from mlbench.names import one_form

__all__ = ["BOXES", "DIGESTS", "PATHS", "ROOT", "Sources", "read_sources"]

#: Accepted names of arrays or columns; the first are those of arrays, the second those of columns.
PATHS = ("paths", "path")
BOXES = ("boxes", "box")
DIGESTS = ("digests", "digest")

#: The entry of a file's provenance with the folder that relative paths start at.
ROOT = "root"


@dataclass(frozen=True)
class Sources:
    """Images of N rows. paths: as the file has them. boxes: the part of each image that was used, digests:
    hash of its file, labels: its class; each (N,) text, "" where there is none. provenance: the model (see
    `read_provenance`)."""

    paths: tuple[str, ...]
    boxes: tuple[str, ...]
    digests: tuple[str, ...]
    labels: tuple[str, ...]
    provenance: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, row: int) -> str:
        """The image of a row, for the reader."""
        return f"{self.paths[row]} [{self.boxes[row]}]" if self.boxes[row] else self.paths[row]

    def keys(self) -> list[tuple[str, str]]:
        """The image of each row: its path, in one Unicode form, and its box."""
        return list(zip(map(one_form, self.paths), self.boxes, strict=True))


def read_sources(path: Path) -> Sources | None:
    """The sources of a file of embeddings; None where it does not name them. Raises DataError for a file
    that cannot be read."""
    if path.suffix not in (".npz", ".parquet"):
        return None
    columns = read_columns(path, (*PATHS, *BOXES, *DIGESTS, *LABEL_COLUMNS))
    paths = _texts(columns, PATHS)
    if paths is None:
        return None
    nothing = ("",) * len(paths)
    boxes, digests, labels = (_texts(columns, names) or nothing for names in (BOXES, DIGESTS, LABEL_COLUMNS))
    for found, what in ((boxes, "boxes"), (digests, "digests"), (labels, "labels")):
        if len(found) != len(paths):
            raise DataError(f"{path}: {len(found)} {what} for {len(paths)} paths; expected one each")
    return Sources(paths, boxes, digests, labels, read_provenance(path))


def _texts(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> tuple[str, ...] | None:
    """A column as texts, "" for a missing one; None without such a column."""
    found = next((columns[name] for name in names if name in columns), None)
    if found is None:
        return None
    return tuple("" if each is None or each != each else str(each) for each in found.tolist())

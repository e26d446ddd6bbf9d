"""Files of embedded images: embeddings, classes and paths, with the model that made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlbench.atomic_write import write_atomically
from mlbench.deployment.embedding import EmbeddedImages
from mlbench.errors import StoreError
from mlbench.evaluation.embedding_files import PROVENANCE
from mlbench.evaluation.image_sources import ROOT

__all__ = ["check_output", "write_embeddings"]

_FORMATS = (".parquet", ".npz")


def check_output(file: Path) -> None:
    """Raise StoreError, before anything is computed, for a file of another format, a Parquet file without
    pyarrow, and a place that is a folder."""
    if file.suffix not in _FORMATS:
        raise StoreError(f"{file}: expected a file that ends in {' or '.join(_FORMATS)}")
    if file.is_dir():
        raise StoreError(f"{file}: is a folder; name a file")
    if file.suffix == ".parquet":
        _pyarrow(file)


def write_embeddings(file: Path, found: EmbeddedImages) -> None:
    """Write embeddings so that `mlbench evaluate` and `mlbench search` read them.

    A Parquet file has the columns path, label (where an image has one), box (likewise), digest and embedding
    (a list of float32 of fixed size), and the model in its metadata; an .npz file the same as arrays. Raises
    StoreError.
    """
    provenance = json.dumps({**found.card.metadata(), ROOT: str(found.root.absolute())}, ensure_ascii=False)
    columns: dict[str, list[str]] = {
        "path": [image.path for image in found.images],
        "label": [image.label for image in found.images],
        "box": [image.box_text for image in found.images],
        "digest": list(found.digests),
    }
    columns = {name: texts for name, texts in columns.items() if any(texts)}
    if file.suffix == ".npz":
        _write_npz(file, columns, found.vectors, provenance)
    else:
        _write_parquet(file, columns, found.vectors, provenance)


#: Names of the arrays of an .npz file, by those of the columns.
_ARRAYS = {"path": "paths", "label": "labels", "box": "boxes", "digest": "digests"}


def _write_npz(file: Path, columns: dict[str, list[str]], vectors: np.ndarray, provenance: str) -> None:
    arrays: dict[str, Any] = {_ARRAYS[name]: np.array(texts, str) for name, texts in columns.items()}
    arrays |= {"embeddings": vectors, PROVENANCE: np.array(provenance)}
    write_atomically(file, lambda stream: np.savez(stream, **arrays))


def _write_parquet(file: Path, columns: dict[str, list[str]], vectors: np.ndarray, provenance: str) -> None:
    arrow = _pyarrow(file)
    import pyarrow.parquet

    arrays = {
        name: arrow.array([text or None for text in texts], arrow.string()) for name, texts in columns.items()
    }
    flat = arrow.array(np.ascontiguousarray(vectors, np.float32).ravel())
    arrays["embedding"] = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = arrow.table(arrays).replace_schema_metadata({PROVENANCE: provenance})

    def write(stream: BinaryIO) -> None:
        pyarrow.parquet.write_table(table, stream)

    write_atomically(file, write)


def _pyarrow(file: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise StoreError(
            f"{file}: Parquet needs mlbench[parquet]: pip install 'mlbench[parquet]'; or write an .npz"
        ) from None
    return pyarrow

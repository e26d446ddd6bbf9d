"""Embeddings from NumPy files (.npz, or .npy with a file of labels) and Parquet files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.errors import DataError, MlbenchError, first_line
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.labels import LABEL_COLUMNS, clean_labels, read_labels
from mlbench.names import one_form

__all__ = ["PROVENANCE", "group_number", "read_columns", "read_embeddings", "read_provenance", "read_vectors"]

_FORMATS = ".npz, .npy or .parquet"

#: Accepted names of the arrays or columns of a file; messages use the first.
_VECTORS = ("embeddings", "embedding", "vectors", "features")
_ROLES = (("queries", "query"), ("gallery",))
_GROUPS = ("groups", "group")

#: Name of the array of an .npz file, and of the metadata of a Parquet file, that says which model made the
#: embeddings: texts by name, as JSON.
PROVENANCE = "mlbench"


def read_embeddings(
    path: Path, labels: Path | None = None, *, name: str = "", needs_labels: bool = True
) -> Embeddings:
    """Read embeddings with their labels (text or whole numbers), roles and groups.

    An .npz file has arrays "embeddings" (N, D) and "labels" (N,), optionally "queries" and "gallery" (N,)
    bool, and "groups" (N,), numbers or texts. Two images of one class and one group are not a pair; an empty
    text or a negative number means no group. A Parquet file has the same as columns, with lists as
    embeddings. An .npy file has only the vectors and is mapped into memory. labels: a file of labels (see
    `read_labels`). name: for messages, by default the file's. needs_labels: if False and the labels are not
    given, each image is one class. Raises DataError.
    """
    name = name or path.name
    columns = read_columns(
        path, (*_VECTORS, *LABEL_COLUMNS, *_GROUPS, *(name for names in _ROLES for name in names))
    )
    vectors = _vectors(columns, path)
    if labels is not None:
        given = read_labels(labels)
    elif not needs_labels:
        given = np.arange(len(vectors))
    elif path.suffix == ".npy":
        raise DataError(f"{path}: an .npy file has no labels; name their file with --labels FILE")
    else:
        given = clean_labels(_pick(columns, LABEL_COLUMNS, path), str(path))
    if given.ndim != 1 or len(given) != len(vectors):
        where = labels or path
        raise DataError(
            f"{where}: labels of shape {given.shape} for {len(vectors)} embeddings; expected one each"
        )
    roles = []
    for names in _ROLES:
        found = next((columns[each] for each in names if each in columns), np.ones(len(vectors), bool))
        if (
            found.shape != (len(vectors),)
            or found.dtype.kind not in "bui"
            or not np.isin(found, (0, 1)).all()
        ):
            raise DataError(
                f"{path}: {names[0]!r} must be true or false for each of {len(vectors)} embeddings"
            )
        roles.append(found.astype(bool))
    return Embeddings(vectors, given, roles[0], roles[1], name, groups=_groups(columns, len(vectors), path))


def read_vectors(path: Path) -> np.ndarray:
    """The embeddings of a file, (N, D) numbers. Raises DataError."""
    return _vectors(read_columns(path, _VECTORS), path)


def _groups(columns: dict[str, np.ndarray], count: int, path: Path) -> np.ndarray | None:
    """Groups as numbers, negative for no group (see `Embeddings`); None if the file has no groups."""
    found = next((columns[name] for name in _GROUPS if name in columns), None)
    if found is None:
        return None
    if found.shape != (count,):
        raise DataError(f"{path}: groups of shape {found.shape} for {count} embeddings; expected one each")
    if found.dtype.kind in "iu":
        return found.astype(np.int64)
    if found.dtype.kind == "f":  # whole numbers of a table in which some are missing
        missing = np.isnan(found)
        if (found[~missing] != np.floor(found[~missing])).any() or np.isinf(found).any():
            raise DataError(f"{path}: groups are fractions; expected whole numbers or texts")
        return np.where(missing, -1, found).astype(np.int64)
    texts = np.array(["" if each is None else one_form(str(each)) for each in found.tolist()])
    known, places = np.unique(texts, return_inverse=True)
    numbers = [-1 if each == "" else group_number(each) for each in known.tolist()]
    return np.array(numbers, np.int64)[places]


def group_number(text: str) -> int:
    """The number of a group: a hash, so that a text has the same number in every file."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()) >> 1


def read_columns(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or the columns of a Parquet file, by name; the vectors of an .npy file as
    "embeddings". Those that are not wanted are empty where they need not be read. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected embeddings as {_FORMATS}")
    try:
        if path.suffix == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {key: archive[key] if key in wanted else np.empty(0) for key in archive.files}
        if path.suffix == ".npy":
            return {_VECTORS[0]: np.load(path, mmap_mode="r", allow_pickle=False)}
        if path.suffix == ".parquet":
            return _load_parquet(path, wanted)
    except MlbenchError:
        raise
    # NumPy and Arrow raise many types of errors for damaged files.
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    raise DataError(f"{path}: unknown format {path.suffix or 'without suffix'}; expected {_FORMATS}")


def read_provenance(path: Path) -> dict[str, str]:
    """What a file says of the model that made its embeddings (see `PROVENANCE`); {} where it says nothing.
    Raises DataError for a file that cannot be read."""
    text: Any = ""
    if path.suffix == ".parquet":
        with _parquet_file(path) as file:
            text = (file.schema_arrow.metadata or {}).get(PROVENANCE.encode(), b"")
    elif path.suffix == ".npz":
        found = read_columns(path, (PROVENANCE,)).get(PROVENANCE)
        text = "" if found is None or found.dtype.kind != "U" or found.shape else str(found)
    try:
        known = json.loads(text) if text else {}
    except ValueError as error:
        raise DataError(f"{path}: its description of the model is damaged ({first_line(error)})") from None
    return {str(name): str(value) for name, value in known.items()} if isinstance(known, dict) else {}


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet needs pyarrow; install it with: pip install 'mlbench[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(path)
    # Arrow raises many types of errors for damaged files.
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None


def _load_parquet(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    with _parquet_file(path) as file:
        # Other columns are named in messages but not read: they may hold the images.
        columns = {name: np.empty(0) for name in file.schema_arrow.names}
        table = file.read([name for name in columns if name in wanted])
    import pyarrow as arrow
    import pyarrow.compute

    if len(table) == 0:
        raise DataError(f"{path}: no rows")
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if (
            arrow.types.is_list(kind)
            or arrow.types.is_large_list(kind)
            or arrow.types.is_fixed_size_list(kind)
        ):
            if len(arrow.compute.unique(arrow.compute.list_value_length(column))) != 1 or column.null_count:
                raise DataError(f"{path}: the lists of column {name!r} differ in length or are missing")
            columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        elif column.null_count:  # NumPy would turn null into a number
            columns[name] = np.array(column.to_pylist(), object)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def _vectors(columns: dict[str, np.ndarray], path: Path) -> np.ndarray:
    found = _pick(columns, _VECTORS, path)
    if found.dtype.kind not in "fiu" or found.ndim != 2:
        raise DataError(
            f"{path}: embeddings are {found.dtype} of shape {found.shape}; expected numbers, "
            "(images, dimensions)"
        )
    return found


def _pick(columns: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in columns:
            return columns[name]
    raise DataError(f"{path}: no {names[0]!r}; found {', '.join(columns) or 'nothing'}")

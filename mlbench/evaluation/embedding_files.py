"""Embeddings from NumPy files (.npz, or .npy with a file of labels) and Parquet files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mlbench.errors import DataError, MlbenchError, first_line
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.labels import LABEL_COLUMNS, clean_labels, read_labels
from mlbench.names import one_form

__all__ = ["read_embeddings"]

_FORMATS = ".npz, .npy or .parquet"

#: Accepted names of the arrays or columns of a file; messages use the first.
_VECTORS = ("embeddings", "embedding", "vectors", "features")
_ROLES = (("queries", "query"), ("gallery",))
_GROUPS = ("groups", "group")


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
    columns = _load(path)
    vectors = _pick(columns, _VECTORS, path)
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2:
        raise DataError(
            f"{path}: embeddings are {vectors.dtype} of shape {vectors.shape}; expected numbers, "
            "(images, dimensions)"
        )
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
    numbers = [-1 if each == "" else _group_number(each) for each in known.tolist()]
    return np.array(numbers, np.int64)[places]


def _group_number(text: str) -> int:
    """A hash, so that a text has the same number in every file."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()) >> 1


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected embeddings as {_FORMATS}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        if path.suffix == ".npy":
            return {_VECTORS[0]: np.load(path, mmap_mode="r", allow_pickle=False)}
        if path.suffix == ".parquet":
            return _load_parquet(path)
    except MlbenchError:
        raise
    # NumPy and Arrow raise many types of errors for damaged files.
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    raise DataError(f"{path}: unknown format {path.suffix or 'without suffix'}; expected {_FORMATS}")


def _load_parquet(path: Path) -> dict[str, np.ndarray]:
    try:
        import pyarrow as arrow
        import pyarrow.compute
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet needs pyarrow; install it with: pip install 'mlbench[parquet]'"
        ) from None
    file = parquet.ParquetFile(path)
    # Other columns are named in messages but not read: they may hold the images.
    columns = {name: np.empty(0) for name in file.schema_arrow.names}
    known = (*_VECTORS, *LABEL_COLUMNS, *_GROUPS, *(name for names in _ROLES for name in names))
    table = file.read([name for name in columns if name in known])
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


def _pick(columns: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in columns:
            return columns[name]
    raise DataError(f"{path}: no {names[0]!r}; found {', '.join(columns) or 'nothing'}")

"""Embeddings from files, whoever made them: NumPy (.npz, or .npy with labels beside it) and Parquet."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np

from mlbench.contracts import PairList
from mlbench.errors import DataError, MlbenchError, first_line
from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.labels import NAMES, clean_labels, read_labels
from mlbench.names import one_form

__all__ = ["read_embeddings", "read_pairs"]

_FORMATS = ".npz, .npy or .parquet"

#: Names under which the vectors may stand in a file; the first is the one we tell people.
_VECTORS = ("embeddings", "embedding", "vectors", "features")
_ROLES = (("queries", "query"), ("gallery",))
_GROUPS = ("groups", "group")


def read_embeddings(
    path: Path, labels: Path | None = None, *, name: str = "", needs_labels: bool = True
) -> Embeddings:
    """Embeddings with labels, text or whole numbers, and who asks and is found where the file says so.

    An .npz holds arrays "embeddings" (N, D) and "labels" (N,), perhaps "queries" and "gallery" (N,) bool and
    "groups" (N,), numbers or texts: two images of one class and one group are no pair, an empty text and a
    negative number are no group. A Parquet file has columns "embedding" (lists) and "label", and so on. An
    .npy holds the vectors alone and is mapped into memory, not read; `labels` names a file for them (see
    `read_labels`). name: for messages, else the file's. Without labels, where they are not needed, each image
    is a class of its own. Raises DataError.
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
        given = clean_labels(_pick(columns, NAMES, path), str(path))
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
                f"{path}: {names[0]!r} must say true or false for each of {len(vectors)} embeddings"
            )
        roles.append(found.astype(bool))
    return Embeddings(vectors, given, roles[0], roles[1], name, groups=_groups(columns, len(vectors), path))


def _groups(columns: dict[str, np.ndarray], count: int, path: Path) -> np.ndarray | None:
    """Groups as numbers, negative for none (see `Embeddings`); None where the file has no groups."""
    found = next((columns[name] for name in _GROUPS if name in columns), None)
    if found is None:
        return None
    if found.shape != (count,):
        raise DataError(f"{path}: groups of shape {found.shape} for {count} embeddings; expected one each")
    if found.dtype.kind in "iu":
        return found.astype(np.int64)
    if found.dtype.kind == "f":  # as tables have whole numbers where some are missing
        missing = np.isnan(found)
        if (found[~missing] != np.floor(found[~missing])).any() or np.isinf(found).any():
            raise DataError(f"{path}: groups are fractions; expected whole numbers or texts")
        return np.where(missing, -1, found).astype(np.int64)
    texts = np.array(["" if each is None else one_form(str(each)) for each in found.tolist()])
    known, places = np.unique(texts, return_inverse=True)
    numbers = [-1 if each == "" else _number(each) for each in known.tolist()]
    return np.array(numbers, np.int64)[places]


def _number(text: str) -> int:
    """The same number for the same text in every file."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()) >> 1


def read_pairs(path: Path, images: int, folds: int) -> PairList:
    """A CSV file with the columns left, right (row numbers from 0), same (1 or 0) and perhaps fold.

    images: how many rows there are. folds: number of equal runs in file order where there is no fold column,
    as the protocols of face verification have them. Raises DataError, also for an image paired with itself
    and for a pair with two answers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    for column in ("left", "right", "same"):
        if not rows or column not in rows[0]:
            raise DataError(
                f"{path}: expected a CSV file with the columns left, right, same and perhaps fold"
            )
    numbered = "fold" in rows[0]
    values = np.empty((4, len(rows)), np.int64)
    for index, row in enumerate(rows):
        try:
            fold = row["fold"] if numbered else index * folds // len(rows)
            values[:, index] = [int(row["left"]), int(row["right"]), _truth(row["same"]), int(fold)]
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise DataError(
                f"{path}:{index + 2}: expected row numbers and 1 or 0, found {dict(row)}"
            ) from None
        if not (0 <= values[0, index] < images and 0 <= values[1, index] < images):
            raise DataError(f"{path}:{index + 2}: rows run from 0 to {images - 1}, found {dict(row)}")
    _check_answers(path, *values[:3].tolist())
    return PairList(values[0], values[1], values[2].astype(bool), values[3])


def _check_answers(path: Path, left: list[int], right: list[int], same: list[int]) -> None:
    """Raise DataError for an image paired with itself, and for a pair that is both the same and different."""
    first: dict[tuple[int, int], int] = {}
    for index, (one, other) in enumerate(zip(left, right, strict=True)):
        if one == other:
            raise DataError(
                f"{path}:{index + 2}: a pair of image {one} with itself, which any model recognises"
            )
        before = first.setdefault((min(one, other), max(one, other)), index)
        if same[before] != same[index]:
            raise DataError(
                f"{path}:{index + 2}: the images {one} and {other} are "
                f"{'the same' if same[index] else 'different'} here, and not in line {before + 2}"
            )


def _truth(text: str) -> int:
    return {"1": 1, "0": 0, "true": 1, "false": 0}[text.strip().lower()]


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
    # NumPy and Arrow raise whatever a damaged file makes them stumble over.
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    raise DataError(f"{path}: {path.suffix or 'no suffix'} is not known; expected {_FORMATS}")


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
    # What has another name is told, not read: it may be all the images.
    columns = {name: np.empty(0) for name in file.schema_arrow.names}
    known = (*_VECTORS, *NAMES, *_GROUPS, *(name for names in _ROLES for name in names))
    table = file.read([name for name in columns if name in known])
    if len(table) == 0:
        raise DataError(f"{path}: holds no rows")
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
        elif column.null_count:  # NumPy has no null: it would turn into a number
            columns[name] = np.array(column.to_pylist(), object)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def _pick(columns: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in columns:
            return columns[name]
    raise DataError(f"{path}: it has no {names[0]!r}; it holds {', '.join(columns) or 'nothing'}")

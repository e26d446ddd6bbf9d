"""Labels from files, checked: text or whole numbers, one for each row, none missing."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.errors import DataError, first_line
from mlbench.names import one_form

__all__ = ["LABEL_COLUMNS", "clean_labels", "read_labels", "sort_labels"]

#: Accepted names of an array or column of labels.
LABEL_COLUMNS = ("labels", "label", "classes", "class")


def read_labels(path: Path) -> np.ndarray:
    """Read labels, (N,), from a .npy file, a .csv file with one column or a column of `LABEL_COLUMNS`, or a
    text file with one label a line. Raises DataError."""
    if path.suffix == ".npy":
        return clean_labels(_load_array(path), str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise DataError(f"{path}: not UTF-8 text; expected one label a line")
        lines = (
            _column(text, path) if path.suffix == ".csv" else list(enumerate(text.rstrip().split("\n"), 1))
        )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: labels cannot be read ({first_line(error)})") from None
    for line, label in lines:
        if not label.strip():
            raise DataError(f"{path}:{line}: no label; expected one in each line")
    return clean_labels(np.array([label for _, label in lines], str), str(path))


def clean_labels(values: np.ndarray, where: str) -> np.ndarray:
    """Labels as whole numbers, or as text in one Unicode form (NFC) without surrounding white space.

    values: of any shape and type. where: their source, for messages. Raises DataError that names the first
    row whose label is missing or neither text nor a whole number.
    """
    if values.dtype.kind == "O":
        for wrong in (_is_missing, _is_invalid):
            _check(np.array([wrong(value) for value in values.ravel()], bool), values, where)
        texts = [isinstance(value, str) for value in values.ravel()]
        if any(texts) and not all(texts):
            first = texts.index(not texts[0])
            raise DataError(
                f"{where}: row {first} is {values.flat[first]!r}, row 0 {values.flat[0]!r}; {_EXPECTED}"
            )
        values = values.astype(str if any(texts) else np.int64)
    elif values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: labels are bytes but not UTF-8 text ({error})") from None
    elif values.dtype.kind == "f":
        _check(~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > _MOST), values, where)
        values = values.astype(np.int64)
    elif values.dtype.kind not in "biuU":
        raise DataError(f"{where}: labels are {values.dtype}; {_EXPECTED}")
    if values.dtype.kind != "U":
        return values
    names, inverse = np.unique(values, return_inverse=True)
    names = np.array([one_form(name.strip()) for name in names], str)
    values = names[inverse.reshape(values.shape)]
    _check(values == "", values, where)
    return values


def sort_labels(classes: np.ndarray) -> np.ndarray:
    """Sort different labels, (C,), whole numbers by value even as text ("2" before "10"), so that random
    draws from them do not depend on their type."""
    texts = classes.astype(str).tolist()
    if not all(_WHOLE.fullmatch(text) for text in texts):
        return np.sort(classes)
    return classes[sorted(range(len(texts)), key=lambda at: int(texts[at]))]


#: A whole number as Python writes it; "01" is a name.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")

_EXPECTED = "expected text or whole numbers, one kind for all"

#: float64 cannot represent all whole numbers above this.
_MOST = 2.0**53


def _check(bad: np.ndarray, values: np.ndarray, where: str) -> None:
    """Raise DataError for the first bad row."""
    if not bad.any():
        return
    first, count = int(np.argmax(bad)), int(bad.sum())
    value = values.flat[first]
    others = f" (and {count - 1:,} others)" if count > 1 else ""
    text = "has no label" if _is_missing(value) else "has an invalid label"
    shown = "null" if value is None else repr(value.item() if isinstance(value, np.generic) else value)
    raise DataError(f"{where}: row {first} {text}: {shown}{others}; {_EXPECTED}; rows count from 0")


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _is_invalid(value: Any) -> bool:
    """Whether a value is neither text nor a 64-bit whole number."""
    if isinstance(value, int | np.integer):
        return not -(2**63) <= int(value) < 2**63
    return not isinstance(value, str)


def _load_array(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    # NumPy raises many types of errors for damaged files.
    except Exception as error:
        advice = "; save text as np.array(labels, str)" if "pickle" in str(error) else ""
        raise DataError(f"{path}: labels cannot be read ({first_line(error)}){advice}") from None
    return found


def _column(text: str, path: Path) -> list[tuple[int, str]]:
    """Line number and label of each row of a CSV file."""
    reader = csv.reader(io.StringIO(text.rstrip()))
    rows = [(reader.line_num, row) for row in reader]
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    at = next((header.index(name) for name in LABEL_COLUMNS if name in header), None)
    if at is None and any(len(row) > 1 for _, row in rows):
        raise DataError(
            f"{path}: expected one column, or a column {LABEL_COLUMNS[1]!r}; found {', '.join(header)}"
        )
    body = rows if at is None else rows[1:]
    return [(line, row[at or 0] if len(row) > (at or 0) else "") for line, row in body]

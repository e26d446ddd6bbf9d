"""Labels from outside: text or whole numbers, one for each row, none missing."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.errors import DataError, first_line
from mlbench.names import one_form

__all__ = ["NAMES", "clean_labels", "in_order", "read_labels"]

#: Names under which labels may stand in a file; the first is the one we tell people.
NAMES = ("labels", "label", "classes", "class")


def read_labels(path: Path) -> np.ndarray:
    """Labels from a file of their own, (N,): .npy, .csv with one column or one that is called as one of the
    `NAMES`, or text with one label a line. Raises DataError."""
    if path.suffix == ".npy":
        return clean_labels(_load_array(path), str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise DataError(f"{path}: is no UTF-8 text; expected one label a line")
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
    """Labels as whole numbers or as text in one Unicode form (NFC) without white space around it.

    values: of any shape and type. where: they come from, for messages. Raises DataError, with the first row
    that is to blame, for a label that is missing or is neither.
    """
    if values.dtype.kind == "O":
        for wrong in (_is_missing, _is_none):
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
            raise DataError(f"{where}: labels are bytes that are no UTF-8 text ({error})") from None
    elif values.dtype.kind == "f":
        _check(~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > _MOST), values, where)
        values = values.astype(np.int64)
    elif values.dtype.kind not in "biuU":
        raise DataError(f"{where}: labels are {values.dtype}; {_EXPECTED}")
    if values.dtype.kind != "U":
        return values
    names, of_which = np.unique(values, return_inverse=True)
    names = np.array([one_form(name.strip()) for name in names], str)
    values = names[of_which.reshape(values.shape)]
    _check(values == "", values, where)
    return values


def in_order(classes: np.ndarray) -> np.ndarray:
    """Different labels, (C,), in one order however they are written: whole numbers by their value, also as
    text ("2" before "10"), so that what is drawn from them does not depend on the type."""
    texts = classes.astype(str).tolist()
    if not all(_WHOLE.fullmatch(text) for text in texts):
        return np.sort(classes)
    return classes[sorted(range(len(texts)), key=lambda at: int(texts[at]))]


#: As Python writes whole numbers; "01" is a name.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")

_EXPECTED = "expected text or whole numbers, one kind for all"

#: Above, float64 does not hold every whole number.
_MOST = 2.0**53


def _check(bad: np.ndarray, values: np.ndarray, where: str) -> None:
    """Raise DataError for the first bad row."""
    if not bad.any():
        return
    first, count = int(np.argmax(bad)), int(bad.sum())
    value = values.flat[first]
    others = f" (and {count - 1:,} others)" if count > 1 else ""
    text = "has no label" if _is_missing(value) else "has a label that is none"
    shown = "null" if value is None else repr(value.item() if isinstance(value, np.generic) else value)
    raise DataError(f"{where}: row {first} {text}: {shown}{others}; {_EXPECTED}; rows count from 0")


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _is_none(value: Any) -> bool:
    """Whether a value is neither text nor a whole number of 64 bits."""
    if isinstance(value, int | np.integer):
        return not -(2**63) <= int(value) < 2**63
    return not isinstance(value, str)


def _load_array(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    # NumPy raises whatever a damaged file makes it stumble over.
    except Exception as error:
        advice = "; save text as np.array(labels, str)" if "pickle" in str(error) else ""
        raise DataError(f"{path}: labels cannot be read ({first_line(error)}){advice}") from None
    return found


def _column(text: str, path: Path) -> list[tuple[int, str]]:
    """Line number and label of each row of a CSV file."""
    reader = csv.reader(io.StringIO(text.rstrip()))
    rows = [(reader.line_num, row) for row in reader]
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    at = next((header.index(name) for name in NAMES if name in header), None)
    if at is None and any(len(row) > 1 for _, row in rows):
        raise DataError(
            f"{path}: expected one column, or one that is called {NAMES[1]!r}; found {', '.join(header)}"
        )
    body = rows if at is None else rows[1:]
    return [(line, row[at or 0] if len(row) > (at or 0) else "") for line, row in body]

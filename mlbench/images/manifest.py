"""Manifests: tables of images, as CSV or parquet, with one row for each image, or for each box in an image.

Columns: path and label are required (path alone where labels are not needed); split (train, calibration,
test, or query or gallery for test images that are only queries or only in the gallery), is_query, is_gallery,
session (images of one class and session are not compared) and box ("x1,y1,x2,y2", pixels of the upright
image) are optional; others are ignored. An image has a row for each split that uses it. Paths are absolute or
relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlbench.contracts.data import GALLERY, QUERY, SplitName
from mlbench.errors import DataError, close_match, hint
from mlbench.images.decode import Box
from mlbench.images.image_files import IMAGE_SUFFIXES, SPLIT_NAMES, split_of
from mlbench.images.manifest_rows import Rows
from mlbench.names import find_paths, one_form

__all__ = ["MANIFEST_SUFFIXES", "Manifest", "ManifestRow", "read_manifest"]

MANIFEST_SUFFIXES = (".csv", ".parquet")

_REQUIRED = ("path", "label")
_GROUP = "session"
_OPTIONAL = ("split", "is_query", "is_gallery", "box", _GROUP)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
#: Further values of the column split: the test images of one role.
_PARTS = {"query": QUERY, "gallery": GALLERY}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of a manifest. where: "file:line" for messages. label: "" where it is not needed and not
    given. role: None where the row does not state it.
    group: "" for none."""

    where: str
    path: str
    label: str
    split: SplitName | None
    role: int | None
    box: Box | None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a manifest, in its order. notes: for the user, one line each."""

    rows: list[ManifestRow]
    notes: list[str]


def read_manifest(file: Path, group: str = "", *, needs_labels: bool = True) -> Manifest:
    """Read a manifest. group: the column of groups, "" for session where there is such a column.
    needs_labels: whether each row must have a label. Raises DataError with file and line of the first
    error."""
    if file.suffix.lower() == ".parquet":
        columns, records = _parquet(file, group)
    else:
        columns, records = _csv(file)
    required = _REQUIRED if needs_labels else _REQUIRED[:1]
    notes = _check_columns(file, columns, group, required)
    collected = Rows()
    for where, record in records:
        collected.add(_row(where, record, file.parent, group or _GROUP, required))
    rows = collected.rows
    if not rows:
        raise DataError(f"{file}: no rows; a manifest has one row for each image")
    paths = find_paths(file.parent, (row.path for row in rows))
    rows = [replace(row, path=path) for row, path in zip(rows, paths, strict=True)]
    unsplit = next((row for row in rows if row.split is None), None)
    if unsplit is not None and any(row.split for row in rows):
        raise DataError(f"{unsplit.where}: no split, though other rows have one; choose from: {_choices()}")
    if groups := len({row.group for row in rows if row.group}):
        inside = sum(1 for row in rows if row.group)
        notes.append(
            f"{file}: column {group or _GROUP!r}: {inside:,} of {len(rows):,} images are in {groups:,} "
            f"group{'s' * (groups != 1)}; "
            "images of one class and group are not compared"
        )
    return Manifest(rows, notes)


def _csv(file: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    try:
        # Spreadsheets write a byte-order mark.
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{file}:{line}: not UTF-8; save the manifest as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{file}:1: {error}") from None

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        while True:
            where = f"{file}:{reader.line_num + 1}"
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{where}: {error}") from None
            if not values:
                continue
            if len(values) != len(columns):
                raise DataError(
                    f"{where}: {len(values)} values for {len(columns)} columns; "
                    'a value with a comma in it stands in double quotes, as in "10,20,110,220"'
                )
            yield where, dict(zip(columns, values, strict=True))

    return columns, records()


def _parquet(file: Path, group: str) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"{file}: parquet needs pyarrow; pip install 'mlbench[parquet]', or write the manifest as CSV"
        ) from None
    try:
        with file.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as table:
            columns = list(table.schema_arrow.names)
            wanted = [name for name in columns if name in (*_REQUIRED, *_OPTIONAL, group)]
            for name in wanted:
                kind = table.schema_arrow.field(name).type
                if pyarrow.types.is_nested(kind) and name != "box":
                    raise DataError(
                        f"{file}: column {name!r} holds {kind}; expected text or numbers (for tables that "
                        "contain images use the data set huggingface)"
                    )
            content = table.read(columns=wanted).to_pydict()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except pyarrow.ArrowException as error:
        raise DataError(f"{file}: not a parquet file ({' '.join(str(error).split())})") from None
    values = zip(*content.values(), strict=True)
    records = (
        (f"{file}: row {number}", dict(zip(content, row, strict=True)))
        for number, row in enumerate(values, 1)
    )
    return columns, records


def _check_columns(file: Path, columns: list[str], group: str, required: Sequence[str]) -> list[str]:
    """Notes about columns that look misspelt. Raises DataError for a missing or repeated column."""
    used = (*_REQUIRED, *_OPTIONAL, *filter(None, [group]))
    for name in columns:
        if columns.count(name) > 1 and name in used:
            raise DataError(f"{file}:1: {columns.count(name)} columns are called {name!r}; keep one of them")
    unknown = [name for name in columns if name not in used]
    for name in required:
        if name not in columns:
            raise DataError(f"{file}:1: {_no_column(name, columns, unknown)}")
    if group and group not in columns:
        raise DataError(f"{file}:1: group is {group!r}, but there is no such column; {hint(group, columns)}")
    absent = [name for name in _OPTIONAL if name not in columns]
    near = [(name, difflib.get_close_matches(name, absent, n=1, cutoff=0.75)) for name in unknown]
    return [
        f"{file}: column {name!r} is ignored; did you mean {match[0]!r}?" for name, match in near if match
    ]


def _no_column(name: str, columns: list[str], unknown: list[str]) -> str:
    """A message about the missing column `name`: what the first line has instead, and what to do."""
    example = "the first line must name the columns, as in path,label"
    if not any(columns):
        return f"the first line is empty; {example}"
    separator = next((each for each in _SEPARATORS if each in columns[0]), "")
    if len(columns) == 1 and separator:
        return f"the values are separated by {_SEPARATORS[separator]}; save the manifest with commas"
    if any(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in columns):
        return f"the first line is the row of an image ({','.join(columns)}); {example}"
    near = close_match(name, unknown)
    if near:
        return f"no column {name!r}; rename the column {near!r} to {name!r}"
    meaning = "the image files" if name == "path" else "the classes"
    return f"no column {name!r} (found: {', '.join(columns)}); rename the column of {meaning} to {name!r}"


def _row(
    where: str, record: Mapping[str, Any], folder: Path, group: str, required: Sequence[str]
) -> ManifestRow:
    path, label = (_text(record.get(name)) for name in _REQUIRED)
    if not path or (not label and "label" in required):
        raise DataError(f"{where}: the {'label' if path else 'path'} is empty")
    _check_path(where, path, folder)
    name = _text(record.get("split"))
    part = _PARTS.get(name.lower())
    split: SplitName | None = "test" if part else split_of(name)
    if name and split is None:
        raise DataError(f"{where}: unknown split {name!r}; {hint(name.lower(), (*SPLIT_NAMES, *_PARTS))}")
    role = _role(where, record, split)
    if part:
        if role not in (None, part):
            raise DataError(
                f"{where}: split is {name}, but is_query and is_gallery contradict it; keep one of them"
            )
        role = part
    box, inside = _box(where, record.get("box")), one_form(_text(record.get(group)))
    return ManifestRow(where, path, one_form(label), split, role, box, inside)


def _check_path(where: str, path: str, folder: Path) -> None:
    """Raise DataError for a URL, a Windows path or ~, unless a file with exactly this name exists."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        problem = "is a URL; download the images and write the paths of the files"
    elif re.match(r"[A-Za-z]:[\\/]", path):
        problem = "starts at a Windows drive; write paths relative to the manifest's folder, with /"
    elif "\\" in path:
        problem = f"has Windows separators; write {path.replace(chr(92), '/')!r}"
    elif path.startswith("~"):
        problem = "starts with ~, which is not replaced in a manifest; write the path in full"
    else:
        return
    if not os.path.lexists(folder / path):
        raise DataError(f"{where}: the path {path!r} {problem}")


def _role(where: str, record: Mapping[str, Any], split: SplitName | None) -> int | None:
    is_query, in_gallery = (_truth(where, name, record.get(name)) for name in ("is_query", "is_gallery"))
    if split == "train" or (is_query is None and in_gallery is None):
        return None
    role = (QUERY if is_query is not False else 0) | (GALLERY if in_gallery is not False else 0)
    if not role:
        raise DataError(f"{where}: neither query nor gallery, so the image is not used; remove the row")
    return role


def _truth(where: str, column: str, value: Any) -> bool | None:
    text = _text(value).lower()
    if not text:
        return None
    if text not in _TRUTH:
        raise DataError(f"{where}: {column} is {text!r}; write true or false")
    return _TRUTH[text]


def _box(where: str, value: Any) -> Box | None:
    parts: Iterable[Any] = value if isinstance(value, list) else _text(value).split(",")
    texts = [_text(part) for part in parts]
    if texts in ([], [""]):
        return None
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not (0 <= x1 < x2 < math.inf and 0 <= y1 < y2 < math.inf):
        raise DataError(
            f"{where}: box {','.join(texts)!r} is not x1,y1,x2,y2, in pixels, "
            "with 0 <= x1 < x2 and 0 <= y1 < y2"
        )
    return x1, y1, x2, y2


def _text(value: Any) -> str:
    """A cell as text. The label 7 of a column of numbers is "7", even where empty cells made it 7.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):  # parquet may have text without the text type
        return value.decode(errors="surrogateescape").strip()
    return str(value).strip()


def _choices() -> str:
    return ", ".join((*SPLIT_NAMES, *_PARTS))

"""Indexed RecordIO files of labelled images, as MXNet writes and InsightFace packs them.

A record is the magic number, a word with the length in the lower 29 bits and the kind of part (whole, first,
middle, last) in the upper 3, the content, and zeros up to a multiple of 4. Where the content has the magic
number at a multiple of 4, the number is left out and the record continues in another part. The content is
flag (uint32), label (float32), two ids (uint64), then `flag` labels (float32) that replace the label, then
the image file.

Record 0 of an InsightFace pack has two labels, a and b: the records 1 to a - 1 are images; each of the
records a to b - 1 stands for an identity, and its two labels are the range of its images.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.plugin import DataError
from mlbench_datasets.containers.file_cache import cached
from mlbench_datasets.containers.split import Pool

__all__ = ["RecordSource", "read_records"]

_MAGIC = b"\x0a\x23\xd7\xce"
_LENGTH = (1 << 29) - 1
_WHOLE, _LAST = 0, 3
_HEADER = struct.Struct("<IfQQ")
_WORD = struct.Struct("<I")
#: Integers above this are rounded in float32 labels, so ranges of images are not exact.
_EXACT = 1 << 24
#: More labels than any image has; a damaged count must not fill the memory.
_MOST_LABELS = 1 << 16


@dataclass(frozen=True)
class RecordSource:
    """Records of a file. offsets: (N,) int64 bytes."""

    file: str
    offsets: np.ndarray

    def read(self, item: int) -> bytes:
        try:
            with open(self.file, "rb") as stream:
                return _unpacked(self.file, _record(self.file, stream, int(self.offsets[item])))[1]
        except OSError as error:
            raise DataError(f"{self.file}: {error.strerror or error}") from None

    def where(self, item: int) -> str:
        return f"{self.file}: the record at byte {int(self.offsets[item]):,}"


def read_records(file: Path, notes: list[str]) -> Pool:
    """The images of a .rec file with its .idx beside it. Labels are read once and then cached.

    Raises DataError for a missing or damaged file.
    """
    index = file.with_suffix(".idx")
    for each in (file, index):
        if not each.is_file():
            raise DataError(f"{each}: no such file; a RecordIO pack is a .rec file with its .idx beside it")
    found = cached("records", [file, index], lambda: _read_labels(file, index))
    names, classes = np.unique(found["labels"], return_inverse=True)
    _check_property(file.with_name("property"), len(names), notes)
    source = RecordSource(str(file), found["offsets"])
    return Pool(source, classes.astype(np.int64), [str(name) for name in names.tolist()])


def _read_labels(file: Path, index: Path) -> dict[str, np.ndarray]:
    """Offset and label of every image."""
    keys, offsets = _read_index(index)
    try:
        with file.open("rb") as stream:

            def labels_of(position: int) -> np.ndarray:
                return _labels(str(file), stream, int(offsets[position]))

            images = np.arange(len(keys))
            labels = None
            if keys[0] == 0 and len(frame := labels_of(0)) == 2:
                if not (np.isfinite(frame).all() and 1 < frame[0] <= frame[1]):
                    raise DataError(f"{file}: record 0 has no valid range of images ({frame.tolist()})")
                first, end = (int(value) for value in frame)
                images = np.flatnonzero((keys > 0) & (keys < first))
                labels = _labels_by_identity(keys, images, first, end, labels_of)
            if labels is None:
                labels = np.array([labels_of(position)[0] for position in images.tolist()], np.float64)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    if not len(images):
        raise DataError(f"{file}: no images")
    wrong = ~np.isfinite(labels) | (labels != np.floor(labels)) | (labels < 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{file}: record {keys[images[at]]} has the label {labels[at]:g}; expected 0, 1, 2, ..."
        )
    return {"offsets": offsets[images], "labels": labels.astype(np.int64)}


def _read_index(index: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys, ascending, and byte offsets of the records."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of an empty file
            table = np.loadtxt(index, np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise DataError(f"{index}: {error.strerror or error}") from None
    except (ValueError, OverflowError):
        table = np.empty((0, 2), np.int64)
    if not len(table) or table.shape[1] != 2 or (table < 0).any():
        raise DataError(f"{index}: not an index; expected a key and a byte offset on each line")
    keys, offsets = table.T
    order = np.argsort(keys, kind="stable")
    keys, offsets = keys[order], offsets[order]
    if (twice := np.flatnonzero(keys[1:] == keys[:-1])).size:
        raise DataError(f"{index}: the key {keys[twice[0]]} appears twice")
    return keys, offsets


def _labels_by_identity(
    keys: np.ndarray, images: np.ndarray, first: int, end: int, labels_of: Callable[[int], np.ndarray]
) -> np.ndarray | None:
    """Labels of the images, from the records of the identities, which are far fewer; None where these records
    are missing, rounded, or do not cover every image once."""
    identities = np.flatnonzero((keys >= first) & (keys < end))
    if not len(identities) or first > _EXACT or not np.array_equal(keys[images], np.arange(1, first)):
        return None
    ranges = [labels_of(position) for position in identities.tolist()]
    if any(len(each) != 2 for each in ranges):
        return None
    starts, ends = np.array(sorted((float(a), float(b)) for a, b in ranges if a != b)).reshape(-1, 2).T
    if not len(starts) or not np.array_equal([*starts, first], [1, *ends]):
        return None
    sizes = (ends - starts).astype(np.int64)
    if sizes.sum() != len(images):  # fractions
        return None
    # The labels of the first and the last image of each identity must agree.
    at = (np.cumsum(sizes) - sizes, np.cumsum(sizes) - 1)
    low, high = (np.array([labels_of(i)[0] for i in images[each].tolist()], np.float64) for each in at)
    if not np.array_equal(low, high) or len(np.unique(low)) != len(low):
        return None
    return np.repeat(low, sizes)


def _labels(file: str, stream: io.BufferedReader, offset: int) -> np.ndarray:
    """Labels of a record, without reading its image where possible."""
    stream.seek(offset)
    start = stream.read(8 + _HEADER.size + 8)
    if start[:4] == _MAGIC and len(start) == 8 + _HEADER.size + 8:
        word = _WORD.unpack_from(start, 4)[0]
        count = _WORD.unpack_from(start, 8)[0]
        if count <= 2 and word >> 29 == _WHOLE and word & _LENGTH >= _HEADER.size + 4 * count:
            return _unpacked(file, start[8 : 8 + _HEADER.size + 4 * count])[0]
    return _unpacked(file, _record(file, stream, offset))[0]


def _record(file: str, stream: io.BufferedReader, offset: int) -> bytes:
    """The bytes of the record at `offset`, its parts joined."""
    parts: list[bytes] = []
    stream.seek(offset)
    while True:
        start = stream.read(8)
        if len(start) < 8 or start[:4] != _MAGIC:
            raise DataError(f"{file}: no record at byte {offset:,}; does the .idx file belong to it?")
        word = _WORD.unpack_from(start, 4)[0]
        length = word & _LENGTH
        part = stream.read(length)
        if len(part) != length:
            raise DataError(f"{file}: it ends within the record at byte {offset:,}; the file is truncated")
        parts.append(part)
        if word >> 29 in (_WHOLE, _LAST):
            return _MAGIC.join(parts)
        stream.seek(-length % 4, io.SEEK_CUR)


def _unpacked(file: str, record: bytes) -> tuple[np.ndarray, bytes]:
    """Labels (flag or 1,) float32, and the image file."""
    if len(record) >= _HEADER.size:
        count, label, _, _ = _HEADER.unpack_from(record)
        if count == 0:
            return np.array([label], np.float32), record[_HEADER.size :]
        end = _HEADER.size + 4 * count
        if count <= _MOST_LABELS and end <= len(record):
            return np.frombuffer(record, "<f4", count, _HEADER.size), record[end:]
    raise DataError(f"{file}: a record without the header of an image; was it written by MXNet's im2rec?")


def _check_property(file: Path, classes: int, notes: list[str]) -> None:
    """Add a note where the file with the number of classes ("85742,112,112") has another number."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return
    said = text.partition(",")[0]
    if said.isdigit() and int(said) != classes:
        notes.append(f"{file} states {int(said):,} classes, but the records have {classes:,}")

"""InsightFace's verification sets (lfw.bin, cfp_fp.bin, agedb_30.bin): pairs of images in a pickle.

A pickle can execute code. This reader executes none: it builds bytes, lists, tuples, numbers and booleans,
and refuses a file that names anything else.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlbench.plugin import DataError, PairList, first_line

__all__ = ["FacePack", "PackSource", "read_face_pack"]

_EXPECTED = "expected two lists, of encoded images as bytes and of booleans, one for every two images"


@dataclass(frozen=True)
class PackSource:
    """Images of a pack, in the order of the file."""

    file: str
    images: Sequence[bytes]

    def read(self, item: int) -> bytes:
        return self.images[item]

    def where(self, item: int) -> str:
        return f"{self.file}: image {item}"


@dataclass(frozen=True)
class FacePack:
    """source: 2P images. pairs: images 2i and 2i + 1, in folds of consecutive pairs. content: of the file."""

    source: PackSource
    pairs: PairList
    content: bytes


def read_face_pack(file: Path, folds: int = 10) -> FacePack:
    """Read a verification set. Raises DataError for any other file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    images, same = _checked(file, _load(file, content))
    count = len(same)
    if count < folds:
        raise DataError(f"{file}: {count} pairs are too few for {folds} folds")
    places = np.repeat(np.arange(folds), [len(each) for each in np.array_split(np.empty(count), folds)])
    for fold in range(folds):
        inside = same[places == fold]
        if inside.all() or not inside.any():
            raise DataError(f"{file}: fold {fold} of {folds} has pairs of one kind only and cannot be scored")
    left = np.arange(0, 2 * count, 2, dtype=np.int64)
    pairs = PairList(left, left + 1, same, places.astype(np.int64))
    return FacePack(PackSource(str(file), images), pairs, content)


class _Unpickler(pickle.Unpickler):
    """Builds only the types of the pickle language itself."""

    def __init__(self, file: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")  # strings of Python 2 are bytes
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        # Python 3 writes bytes in this way for Python 2. The method of a built-in type cannot be altered by
        # the rest of the file, and only turns text into bytes, whatever its arguments.
        if (module, name) != ("_codecs", "encode"):
            self._refuse(f"{module}.{name}")
        return str.encode

    def persistent_load(self, pid: Any) -> Any:
        self._refuse("an object outside of the file")

    def _refuse(self, what: str) -> NoReturn:
        arrays = "; write each image as the bytes of its JPEG or PNG file" if "numpy" in what else ""
        raise DataError(f"{self._file}: it names {what}, which is never loaded{arrays}; {_EXPECTED}")


def _load(file: Path, content: bytes) -> Any:
    try:
        return _Unpickler(file, content).load()
    except DataError:
        raise
    # A damaged or hostile pickle may raise any error, also for lack of memory.
    except Exception as error:
        raise DataError(f"{file}: not a verification set ({first_line(error)}); {_EXPECTED}") from None


def _checked(file: Path, data: Any) -> tuple[list[bytes], np.ndarray]:
    if not (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(each, tuple | list) for each in data)
    ):
        raise DataError(f"{file}: not a verification set; {_EXPECTED}")
    images, same = data
    for at, image in enumerate(images):
        if not isinstance(image, bytes):
            raise DataError(f"{file}: image {at} is of type {type(image).__name__}; {_EXPECTED}")
    for at, truth in enumerate(same):
        if not (isinstance(truth, int) and truth in (0, 1)):
            raise DataError(f"{file}: pair {at} is neither true nor false; {_EXPECTED}")
    if len(images) != 2 * len(same):
        raise DataError(f"{file}: {len(images)} images for {len(same)} pairs; {_EXPECTED}")
    return list(images), np.array(same, bool)

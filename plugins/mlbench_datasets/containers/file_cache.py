"""Cached results of reading large files, valid until a file's size or modification time changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.plugin import DataError, StoreError, cache_dir, code_hash, write_atomically

__all__ = ["cached", "stamp"]

# A file that changed less than this before it was read may change again with the same modification time.
_SETTLED_NS = 2_000_000_000


def stamp(files: Sequence[Path]) -> bytes:
    """A hash of the names, sizes and modification times of files, which stands for their content where they
    are too large to hash. Raises DataError for a missing file."""
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        status = _status(file)
        total.update(
            f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape")
        )
    return total.digest()


def cached(
    what: str, files: Sequence[Path], make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The result of `make` for `files`, plain arrays by name; from the cache where it is there.

    what: name of the result, part of the cache's key. A cache that cannot be read is made again; one that
    cannot be written is skipped.
    """
    # The key has the code: a corrected reader must not get the results of the old one.
    places = "\0".join([what, code_hash(__name__), *(os.path.realpath(file) for file in files)])
    name = hashlib.blake2b(places.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    file = cache_dir() / "containers" / f"{name}.npz"
    mark = np.frombuffer(stamp(files), np.uint8)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if np.array_equal(arrays["stamp"], mark):
                return {name: arrays[name] for name in arrays.files if name != "stamp"}
    except Exception:  # noqa: S110 - missing, or damaged in any way: make it again
        pass
    start = time.time_ns()
    found = make()
    if all(start - _status(each).st_mtime_ns >= _SETTLED_NS for each in files):
        _save(file, {**found, "stamp": mark})
    return found


def _status(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None


def _save(file: Path, arrays: dict[str, Any]) -> None:
    # Where the folder is read-only or full, only the next start is slower.
    with contextlib.suppress(StoreError):
        write_atomically(file, lambda stream: np.savez(stream, **arrays))

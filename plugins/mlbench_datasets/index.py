"""An index of image files: which can be read, how large they are, and a hash of what is in them.

The first time every file is read and decoded; what was learnt is kept in the cache folder, and from then
on a file costs one `stat` until its size or its time of change differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL import __version__ as pillow_version

from mlbench.plugin import (
    IMAGE_SUFFIXES,
    StoreError,
    UnreadableImageError,
    cache_dir,
    code_hash,
    core_hash,
    decode,
    write_atomically,
)

__all__ = ["Index", "Probe", "index_images"]

#: Something to learn from each image once: takes it upright, in RGB, with at least 64 pixels on its shorter
#: side if it has so many, and returns an int that fits 64 bits.
Probe = Callable[[Image.Image], int]

_PROBE_SIDE = 64
_FORMAT = "2"  # of the cache: raise it when this module says something else of the same file
_CHUNK = 1024  # files handed to the threads at a time
_DIGEST_SIZE = 16
_NEVER = np.iinfo(np.int64).min  # a time of change that no file has
# A file that changed so shortly before it was read may change again without its time of change moving.
_SETTLED_NS = 2_000_000_000
_ROW = np.dtype(
    [
        ("size", "<i8"),
        ("mtime", "<i8"),
        ("digest", f"V{_DIGEST_SIZE}"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("probe", "<i8"),
    ]
)


@dataclass(frozen=True)
class Index:
    """What is known of each file, in the order in which the files were given.

    digests: (N,) 16 bytes, a hash of each file. widths, heights: (N,) int32, of the upright image, 0 where
    it cannot be read. probes: (N,) int64. unreadable: position to reason, in order. remarks: position to
    what `decode` remarks, in order.
    """

    digests: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    probes: np.ndarray
    unreadable: dict[int, str]
    remarks: dict[int, list[str]]


class _Words(NamedTuple):
    """By position: reasons why files cannot be read, and remarks on those that can."""

    reasons: dict[int, str]
    remarks: dict[int, list[str]]

    def of(self, places: Sequence[int]) -> _Words:
        """The same where the word on file i is that on `places[i]`; -1 for none."""
        known = [(position, place) for position, place in enumerate(places) if place >= 0]
        return _Words(
            {position: self.reasons[place] for position, place in known if place in self.reasons},
            {position: self.remarks[place] for position, place in known if place in self.remarks},
        )


def index_images(
    root: Path,
    paths: Sequence[str],
    *,
    source: Path | None = None,
    probe: Probe | None = None,
    white: float | None = None,
) -> Index:
    """Index the image files `paths`, which are relative to `root` or absolute.

    source: the file or folder that names the images (default: `root`); each has a cache of its own, and each
    `probe` and `white` too (see `decode`). A cache that cannot be read is made again, one that cannot be
    written is skipped.
    """
    cache = _Cache(source or root, probe, white)
    rows, missing = _stat(root, paths)
    known, words = cache.load(paths)
    fresh = (known["size"] == rows["size"]) & (known["mtime"] == rows["mtime"])
    rows[fresh] = known[fresh]
    words = words.of([position if fresh[position] else -1 for position in range(len(paths))])
    unread = [position for position in np.flatnonzero(~fresh).tolist() if position not in missing]
    if unread:
        try:
            _read(root, paths, unread, rows, words, partial(_inspect, probe=probe, white=white))
        finally:  # an interrupted first pass keeps what it has learnt
            cache.save(paths, rows, words)
    unreadable = dict(sorted({**words.reasons, **missing}.items()))
    remarks = dict(sorted(words.remarks.items()))
    return Index(rows["digest"], rows["width"], rows["height"], rows["probe"], unreadable, remarks)


def _stat(root: Path, paths: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Rows with size and time of change, and by position why a file is not there to be read."""
    rows, missing = np.zeros(len(paths), _ROW), {}
    rows["mtime"] = _NEVER
    sizes, times = rows["size"], rows["mtime"]
    for position, path in enumerate(paths):
        try:
            status = os.stat(os.path.join(root, path))
        except OSError as error:
            missing[position] = error.strerror or str(error)
            continue
        except ValueError:  # a path that no file can have
            missing[position] = "not a path"
            continue
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited on for ever
            missing[position] = "not a file"
            continue
        sizes[position], times[position] = status.st_size, status.st_mtime_ns
    return rows, missing


def _read(
    root: Path,
    paths: Sequence[str],
    positions: Sequence[int],
    rows: np.ndarray,
    words: _Words,
    inspect: Callable[[str], _Found],
) -> None:
    """Read the files at `positions` and put what they hold into `rows` and `words`.

    Rows of files that may still be changing, or that were not reached, are left with a time of change that
    no file has.
    """
    times = rows["mtime"][positions]
    rows["mtime"][positions] = _NEVER

    def read(position: int) -> tuple[int, _Found]:
        return time.time_ns(), inspect(os.path.join(root, paths[position]))

    # Warnings that Pillow gives on odd files would say nothing of which file they are about.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
        warnings.simplefilter("ignore")
        for start in range(0, len(positions), _CHUNK):
            chunk = positions[start : start + _CHUNK]
            for offset, (position, found) in enumerate(
                zip(chunk, threads.map(read, chunk), strict=True), start
            ):
                read_at, file = found
                settled = read_at - int(times[offset]) >= _SETTLED_NS
                mtime = times[offset] if settled else _NEVER
                rows[position] = (rows[position]["size"], mtime, file.digest, *file.size, file.value)
                if file.reason:
                    words.reasons[position] = file.reason
                if file.remarks:
                    words.remarks[position] = list(file.remarks)


class _Found(NamedTuple):
    """A file: its digest, upright size, the probe's value, why it cannot be used ("" if it can), remarks."""

    digest: bytes = b""
    size: tuple[int, int] = (0, 0)
    value: int = 0
    reason: str = ""
    remarks: Sequence[str] = ()


def _inspect(file: str, probe: Probe | None, white: float | None) -> _Found:
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        return _Found(reason=error.strerror or str(error))
    try:
        image, size, remarks = decode(data, short_side=_PROBE_SIDE, white=white)
    except UnreadableImageError as error:
        return _Found(reason=str(error))
    digest = hashlib.blake2b(data, digest_size=_DIGEST_SIZE).digest()
    return _Found(digest, size, 0 if probe is None else probe(image), "", remarks)


class _Cache:
    """The file that keeps the index of one source: an .npz of plain arrays, never a pickle."""

    def __init__(self, source: Path, probe: Probe | None, white: float | None) -> None:
        # Another Pillow or `decode` may read what this one cannot, and so may a reader that is installed.
        learnt = [_FORMAT, pillow_version, core_hash("images"), str(len(IMAGE_SUFFIXES)), str(white)]
        if probe is not None:
            learnt += [probe.__module__, probe.__qualname__, code_hash(probe.__module__)]
        name = b"\0".join((os.fsencode(os.path.realpath(source)), *map(str.encode, learnt)))
        self._file = cache_dir() / "index" / f"{hashlib.blake2b(name, digest_size=16).hexdigest()}.npz"

    def load(self, paths: Sequence[str]) -> tuple[np.ndarray, _Words]:
        """What is known of `paths`: their rows, with a time of change of _NEVER where nothing is known, and
        the words on them."""
        rows = np.zeros(len(paths), _ROW)
        rows["mtime"] = _NEVER
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                known = arrays["rows"]
                names = os.fsdecode(arrays["paths"].tobytes()).split("\0")
                both = json.loads(arrays["words"].tobytes())
                words = _Words(*({int(key): value for key, value in each.items()} for each in both))
            if known.dtype != _ROW or len(known) != len(names):
                return rows, _Words({}, {})
        except Exception:  # there is none yet, or it is damaged, in whatever way: make it again
            return rows, _Words({}, {})
        if names == list(paths):
            return known, words
        places = {name: place for place, name in enumerate(names)}
        found = np.array([places.get(path, -1) for path in paths], dtype=np.int64)
        rows[found >= 0] = known[found[found >= 0]]
        return rows, words.of(found.tolist())

    def save(self, paths: Sequence[str], rows: np.ndarray, words: _Words) -> None:
        """Keep what is known of the files, where the cache can be written; else the next start is slower."""
        arrays: dict[str, Any] = {
            "rows": rows,
            "paths": np.frombuffer(os.fsencode("\0".join(paths)), np.uint8),
            "words": np.frombuffer(json.dumps(words).encode(), np.uint8),
        }
        with contextlib.suppress(StoreError):
            write_atomically(self._file, lambda file: np.savez(file, **arrays))

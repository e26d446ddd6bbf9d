"""An index of image files: which of them can be read, their sizes in pixels, and hashes of their content.

The first time, every file is read and decoded, and the results are cached; after that, a file costs one
`stat` until its size or modification time changes.
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

#: Computes a value of each image once: takes the image upright, in RGB, with at least 64 pixels on its
#: shorter side if the file has as many, and returns an int that fits into 64 bits.
Probe = Callable[[Image.Image], int]

_PROBE_SIDE = 64
_FORMAT = "2"  # of the cache: raise it when this module computes another result for the same file
_CHUNK = 1024  # files handed to the threads at a time
_DIGEST_SIZE = 16
_NEVER = np.iinfo(np.int64).min  # a modification time that no file has
# A file that changed less than this before it was read may change again with the same modification time.
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
    """The results for each file, in the order in which the files were given.

    digests: (N,) 16 bytes, a hash of each file. widths, heights: (N,) int32, of the upright image, 0 where
    it cannot be read. probes: (N,) int64. unreadable: position to reason, in order. remarks: position to
    the remarks of `decode`, in order.
    """

    digests: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    probes: np.ndarray
    unreadable: dict[int, str]
    remarks: dict[int, list[str]]


class _Findings(NamedTuple):
    """By position: the reason why a file cannot be read, and remarks on a file that can."""

    reasons: dict[int, str]
    remarks: dict[int, list[str]]

    def of(self, places: Sequence[int]) -> _Findings:
        """The findings in another order: position i has those of `places[i]`; -1 for none."""
        known = [(position, place) for position, place in enumerate(places) if place >= 0]
        return _Findings(
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

    source: the file or folder that names the images (default: `root`). There is one cache for each source,
    probe and `white` (see `decode`). A cache that cannot be read is made again; one that cannot be written is
    skipped.
    """
    cache = _Cache(source or root, probe, white)
    rows, missing = _stat(root, paths)
    known, findings = cache.load(paths)
    fresh = (known["size"] == rows["size"]) & (known["mtime"] == rows["mtime"])
    rows[fresh] = known[fresh]
    findings = findings.of([position if fresh[position] else -1 for position in range(len(paths))])
    unread = [position for position in np.flatnonzero(~fresh).tolist() if position not in missing]
    if unread:
        try:
            _read(root, paths, unread, rows, findings, partial(_inspect, probe=probe, white=white))
        finally:  # an interrupted first pass keeps its results
            cache.save(paths, rows, findings)
    unreadable = dict(sorted({**findings.reasons, **missing}.items()))
    remarks = dict(sorted(findings.remarks.items()))
    return Index(rows["digest"], rows["width"], rows["height"], rows["probe"], unreadable, remarks)


def _stat(root: Path, paths: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Rows with size and modification time, and by position the reason why there is no such file."""
    rows, missing = np.zeros(len(paths), _ROW), {}
    rows["mtime"] = _NEVER
    sizes, times = rows["size"], rows["mtime"]
    for position, path in enumerate(paths):
        try:
            status = os.stat(os.path.join(root, path))
        except OSError as error:
            missing[position] = error.strerror or str(error)
            continue
        except ValueError:  # such as a null character in the path
            missing[position] = "not a path"
            continue
        if not stat.S_ISREG(status.st_mode):  # reading a pipe may never end
            missing[position] = "not a file"
            continue
        sizes[position], times[position] = status.st_size, status.st_mtime_ns
    return rows, missing


def _read(
    root: Path,
    paths: Sequence[str],
    positions: Sequence[int],
    rows: np.ndarray,
    findings: _Findings,
    inspect: Callable[[str], _Found],
) -> None:
    """Read the files at `positions` into `rows` and `findings`.

    Files that may still be changing, or that were not reached, have the modification time `_NEVER`.
    """
    times = rows["mtime"][positions]
    rows["mtime"][positions] = _NEVER

    def read(position: int) -> tuple[int, _Found]:
        return time.time_ns(), inspect(os.path.join(root, paths[position]))

    # Pillow's warnings about unusual files do not name the file.
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
                    findings.reasons[position] = file.reason
                if file.remarks:
                    findings.remarks[position] = list(file.remarks)


class _Found(NamedTuple):
    """Results for a file: digest, upright size, the probe's value, reason why it cannot be used ("" if it
    can), remarks."""

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
    """The cached index of one source: an .npz of plain arrays, never a pickle."""

    def __init__(self, source: Path, probe: Probe | None, white: float | None) -> None:
        # Other versions of Pillow or `decode`, and further installed readers, may read other files.
        parts = [_FORMAT, pillow_version, core_hash("images"), str(len(IMAGE_SUFFIXES)), str(white)]
        if probe is not None:
            parts += [probe.__module__, probe.__qualname__, code_hash(probe.__module__)]
        name = b"\0".join((os.fsencode(os.path.realpath(source)), *map(str.encode, parts)))
        self._file = cache_dir() / "index" / f"{hashlib.blake2b(name, digest_size=16).hexdigest()}.npz"

    def load(self, paths: Sequence[str]) -> tuple[np.ndarray, _Findings]:
        """Rows and findings of `paths`; files without a cached result have the modification time _NEVER."""
        rows = np.zeros(len(paths), _ROW)
        rows["mtime"] = _NEVER
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                known = arrays["rows"]
                names = os.fsdecode(arrays["paths"].tobytes()).split("\0")
                both = json.loads(arrays["findings"].tobytes())
                findings = _Findings(*({int(key): value for key, value in each.items()} for each in both))
            if known.dtype != _ROW or len(known) != len(names):
                return rows, _Findings({}, {})
        except Exception:  # missing, or damaged in any way: make it again
            return rows, _Findings({}, {})
        if names == list(paths):
            return known, findings
        places = {name: place for place, name in enumerate(names)}
        found = np.array([places.get(path, -1) for path in paths], dtype=np.int64)
        rows[found >= 0] = known[found[found >= 0]]
        return rows, findings.of(found.tolist())

    def save(self, paths: Sequence[str], rows: np.ndarray, findings: _Findings) -> None:
        """Write the results to the cache. Where it cannot be written, the next start is slower."""
        arrays: dict[str, Any] = {
            "rows": rows,
            "paths": np.frombuffer(os.fsencode("\0".join(paths)), np.uint8),
            "findings": np.frombuffer(json.dumps(findings).encode(), np.uint8),
        }
        with contextlib.suppress(StoreError):
            write_atomically(self._file, lambda file: np.savez(file, **arrays))

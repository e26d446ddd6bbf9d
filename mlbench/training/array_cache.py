"""The array cache: reproducible arrays in files that are written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from mlbench.atomic_write import write_atomically
from mlbench.errors import MlbenchError, StoreError

__all__ = ["ArrayCache"]


class ArrayCache:
    """Arrays under `root`, each in a file named by the hash of a key.

    Processes may share a cache: a file with its final name is complete.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, folder: str, key: Any) -> Path:
        """File of the array with `key`, plain JSON data. It need not exist."""
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        return self.root / folder / f"{name}.npy"

    def get(
        self,
        path: Path,
        count: int,
        make: Callable[[], Iterator[np.ndarray]],
        advance: Callable[[int], None],
    ) -> np.ndarray:
        """The array at `path`, memory-mapped; written from the chunks of `make` where there is no such file.

        count: rows of the whole array. advance: called with the number of rows written. A damaged file is
        replaced. Raises StoreError for a file that cannot be written.
        """
        array = _load(path)
        if array is None:
            with _locked(path):
                array = _load(path)  # another process may have written it meanwhile
                if array is None:
                    _write(path, count, make(), advance)
                    array = _load(path)
        if array is None:
            raise StoreError(f"{path}: cannot be read back; is something else writing to this cache?")
        return array

    def limit(self) -> int:
        """Bytes that one split may add: MLBENCH_CACHE_LIMIT (such as "20G"), else half of the free space on
        the cache's disk, at most 50 GB."""
        text = os.environ.get("MLBENCH_CACHE_LIMIT", "")
        if text:
            units = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
            try:
                return int(float(text.rstrip("KMGTB")) * units.get(text.rstrip("B")[-1:], 1))
            except (ValueError, OverflowError):
                raise MlbenchError(
                    f"MLBENCH_CACHE_LIMIT={text!r} is not a size; expected such as 20G"
                ) from None
        folder = self.root
        while not os.path.exists(folder):
            folder = folder.parent
        return min(shutil.disk_usage(folder).free // 2, 50 * 10**9)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Inside the block, no other process makes the same array. Without a lock where the folder cannot be
    written, which the writing of the array then reports."""
    lock = FileLock(path.parent.parent / "locks" / f"{path.stem}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        yield


def _load(path: Path) -> np.ndarray | None:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def _write(path: Path, count: int, chunks: Iterator[np.ndarray], advance: Callable[[int], None]) -> None:
    """Write an array chunk by chunk, then give it its name.

    Plain writes, not a writable memory map: on a full disk a memory map ends the process with a signal, a
    write raises an error.
    """

    def write(file: BinaryIO) -> None:
        done = 0
        for chunk in chunks:
            if done == 0:
                shape = (count, *chunk.shape[1:])
                header = {"descr": chunk.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(chunk).data)
            done += len(chunk)
            advance(done)

    write_atomically(path, write, advice="set MLBENCH_CACHE to a folder that can be written")

"""The store: one JSON file per record under results/SUITE/, each written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlbench.errors import StoreError
from mlbench.records.record import Record, parse_json

__all__ = ["Store", "write_atomically"]

_DAY = 24 * 3600.0


class Store:
    """Records of one suite in `root`/SUITE. Nothing is created before the first write."""

    def __init__(self, root: Path, suite: str) -> None:
        self.folder = root / suite

    def get(self, key: str) -> Record | None:
        """The record called `key` (see `Record.key`), or None."""
        path = self.folder / f"{key}.json"
        return _read(path) if path.is_file() else None

    def put(self, record: Record) -> Path:
        """Write a record. Raises StoreError when the disk is full or the folder cannot be written."""
        path = self.folder / f"{record.key}.json"
        text = json.dumps(record.plain(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")
        return path

    def latest(self) -> tuple[list[Record], list[str]]:
        """The newest record of every case and seed, in the order in which the cases were run, and remarks
        on what is left out: damaged files, and records that were made in another way than the newest of
        their case, which no mean over seeds may mix.
        """
        records, remarks = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                records.append(_read(path))
            except StoreError as error:
                remarks.append(str(error))
        records.sort(key=lambda record: record.finished)
        newest = {record.case: record for record in records}
        chosen: dict[str, dict[int, Record]] = {}
        older = Counter[str]()
        for record in records:
            if _alike(record, newest[record.case]):
                chosen.setdefault(record.case, {})[record.seed] = record
            else:
                older[record.case] += 1
        remarks += [
            f"{case}: left out {count} older {'record' if count == 1 else 'records'} with other settings, "
            "data, code or device"
            for case, count in older.items()
        ]
        return [seeds[seed] for seeds in chosen.values() for seed in sorted(seeds)], remarks

    def checkpoints(self, key: str) -> Path:
        """Folder for the checkpoints of the record called `key`."""
        return self.folder / key

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second run. Raises StoreError when one is under way.

        The lock is the operating system's and goes with the process, however that ends.
        """
        if sys.platform == "win32":  # no flock there; two runs at once would only do the work twice
            yield
            return
        import fcntl

        path = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = path.open("w")
        except OSError as error:
            raise _failed(path, error) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"{self.folder}: another run is writing here; wait for it, or use another --results"
                ) from None
            # Under the lock, what is half-written was left by a process that is no more.
            for leftover in self.folder.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            yield


def write_atomically(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that any reader, at any time, sees the old content or the new one.

    data: the content, or what writes it, for content too large to be held twice.
    Raises StoreError when it cannot be written; nothing is left behind then.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C as well
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise _failed(path, error) from None
        raise


def _sweep(path: Path) -> None:
    """Remove what a writer of this file that was killed has left. No write takes as long as a day."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _DAY:
                leftover.unlink()


def _read(path: Path) -> Record:
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it to run its case again") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path}: not a record; delete it to run its case again")
    return Record.from_plain(data, str(path))


def _alike(record: Record, other: Record) -> bool:
    """Whether two records are of the same experiment, whatever their seeds."""

    def made(each: Record) -> tuple[Any, ...]:
        device = [each.environment.get(key) for key in ("device", "device_product")]
        # How speed is measured changes no metric.
        settings = {name: value for name, value in each.settings.items() if name != "measure"}
        return settings, each.components, device

    versions = {each.data["version"] for each in (record, other) if each.data}  # none where a case failed
    return made(record) == made(other) and len(versions) <= 1


def _failed(path: Path, error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "free space or choose another folder" if full else "choose another folder"
    return StoreError(f"{path}: cannot be written ({error.strerror}); {advice}")

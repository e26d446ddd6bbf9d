"""The store: one JSON file per record under results/SUITE/, each written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import json
import os
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mlbench.errors import StoreError
from mlbench.records.record import Record, parse_json

__all__ = ["Store", "full_disk", "results_settings", "write_atomically"]

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

    def read(self) -> tuple[list[Record], list[str]]:
        """All records, the oldest first, and a remark on each file that cannot be read."""
        records, remarks = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                records.append(_read(path))
            except StoreError as error:
                remarks.append(str(error))
        return sorted(records, key=lambda record: record.finished), remarks

    def latest(self) -> tuple[list[Record], list[str]]:
        """The newest records that belong together, one of each case and seed, in the order in which they were
        made, and remarks on what is left out.

        Records belong together when the same code, libraries, device, number of threads, data and first
        weights made them as the newest record of all; those of one case have the same settings as its newest.
        """
        records, remarks = self.read()
        chosen: dict[tuple[str, int], Record] = {}
        settings: dict[str, Mapping[str, Any]] = {}
        known: dict[str, Any] = {}
        apart, older = Counter[str](), Counter[str]()
        for record in reversed(records):
            facts = _made_by(record)
            if any(known.get(name, value) != value for name, value in facts.items()):
                apart[record.case] += 1
            elif settings.setdefault(record.case, results_settings(record.settings)) != results_settings(
                record.settings
            ):
                older[record.case] += 1
            else:
                known |= facts
                chosen.setdefault((record.case, record.seed), record)
        for counts, what in (
            (older, "settings"),
            (apart, "code, libraries, device, threads, data or first weights"),
        ):
            for case, count in sorted(counts.items()):
                some = "an older record" if count == 1 else f"{count} older records"
                remarks.append(f"{case}: left out {some}, made with other {what}")
        return [record for record in records if chosen.get((record.case, record.seed)) is record], remarks

    def by_fingerprint(self) -> dict[str, Record]:
        """The newest finished record of each fingerprint, whatever its case was called."""
        return {record.fingerprint: record for record in self.read()[0] if record.status == "done"}

    def remove(self, key: str) -> None:
        """Remove the record called `key` and its checkpoints."""
        (self.folder / f"{key}.json").unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def checkpoints(self, key: str) -> Path:
        """Folder for the checkpoints of the record called `key`."""
        return self.folder / key

    def share_checkpoints(self, key: str, other: str) -> None:
        """Give the record called `other` the files in the folder of the record called `key`, which keeps
        them. Where the disk can hold a file under two names, they take no room. Raises StoreError."""
        for file in self.checkpoints(key).glob("[!.]*"):
            place = self.checkpoints(other) / file.name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)
                os.link(file, place)
            except OSError:
                write_atomically(place, partial(_copy, file))

    def move_checkpoints(self, key: str, other: str) -> None:
        """The same, but the record called `key` keeps nothing."""
        self.share_checkpoints(key, other)
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)

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


def write_atomically(
    path: Path, data: bytes | Callable[[BinaryIO], object], *, advice: str = "choose another folder"
) -> None:
    """Write a file so that any reader, at any time, sees the old content or the new one.

    data: the content, or what writes it, for content too large to be held twice. advice: for messages, where
    else the file could go. Raises StoreError when it cannot be written, whatever `data` makes of that; an
    error of its own stays what it is. Nothing is left behind then.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    raw = None
    try:
        with _told(path, advice):
            if path.exists() and not path.is_file():
                raise StoreError(f"{path}: is no regular file; {advice}")
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path)
            raw = _File(temporary, "xb")  # as the user's umask has it, where mkstemp's is for the user alone
        with io.BufferedWriter(raw) as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            raw.sync()
        with _told(path, advice):
            os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C as well
        if raw is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if (cause := raw.error or full_disk(error)) is not None:
                raise _failed(path, cause, advice) from error
        raise


def _copy(file: Path, stream: BinaryIO) -> None:
    with file.open("rb") as source:
        shutil.copyfileobj(source, stream)


class _File(io.FileIO):
    """A file that remembers why it could not be written: torch.save tells of a full disk as of a bug of its
    own."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        with self._remembered():
            return super().write(data)

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        with self._remembered():
            os.fsync(self.fileno())

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            raise


@contextlib.contextmanager
def _told(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(path, error, advice) from None


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


def results_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that can change a metric: how speed is measured cannot."""
    return {name: value for name, value in settings.items() if name != "measure"}


def _made_by(record: Record) -> dict[str, Any]:
    """What must not differ between records that are shown together, by name: conditions of the whole run, the
    code of each component, the version of each data set, and that of first weights."""
    found = {name: record.conditions.get(name) for name in ("core", "libraries", "device", "threads")}
    settings = record.settings
    for section, provenance in record.components.items():
        kind, _, member = section.partition(" ")
        options = (
            settings.get("losses", {}).get(member) if kind == "loss" and member else settings.get(section)
        )
        name = options.get("name", "") if isinstance(options, Mapping) else ""
        found[f"{section} {name}"] = provenance
    if record.conditions.get("weights"):
        key = json.dumps([settings.get("backbone"), settings.get("teacher")], sort_keys=True)
        found[f"weights {key}"] = record.conditions["weights"]
    if "data" in record.conditions:
        key = json.dumps([settings.get("dataset"), settings.get("image")], sort_keys=True)
        found[f"data {key}"] = record.conditions["data"]
    return found


def full_disk(error: BaseException | None) -> OSError | None:
    """The full disk, or the quota or limit that is reached, behind an error; None where there is none."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return error
        error = error.__cause__ or error.__context__
    return None


def _failed(path: Path, error: OSError, advice: str = "choose another folder") -> StoreError:
    advice = f"free space or {advice}" if full_disk(error) else advice
    return StoreError(f"{path}: cannot be written ({error.strerror or error}); {advice}")

"""Locks between the processes of a tuning. The operating system releases them when a process ends, however it
ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mlbench.atomic_write import write_error

__all__ = ["JournalLock", "Locks"]


class JournalLock:
    """The lock of a journal, in the form that Optuna's journal takes. Optuna's own locks are files that a
    killed process leaves behind, and others then wait half a minute.

    Taking it removes an unfinished line at the end, which a process leaves that is killed while it writes, or
    that finds the disk full; with the next entry appended to it, nobody could read the journal.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        if self._journal.exists():
            with self._journal.open("r+b") as file:
                text = file.read()
                if not text.endswith(b"\n"):
                    file.truncate(text.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


class Locks:
    """Locks by name in a folder: who holds the lock of a trial runs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all = FileLock(folder / "all.lock")

    @contextlib.contextmanager
    def choosing(self) -> Iterator[None]:
        """Only one process at a time is inside, and `take` and `drop` are only called there. Raises
        StoreError where the folder cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._all.acquire()
        except OSError as error:
            raise write_error(self._folder, error) from None
        try:
            yield
        finally:
            self._all.release()

    def take(self, name: str) -> FileLock | None:
        """The lock called `name`, taken; None where a process that is alive holds it. Raises StoreError where
        its file cannot be written."""
        lock = FileLock(self._path(name), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        except OSError as error:
            raise write_error(self._path(name), error) from None
        return lock

    def drop(self, name: str, lock: FileLock) -> None:
        """Release a lock and remove its file."""
        self._path(name).unlink(missing_ok=True)
        lock.release()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

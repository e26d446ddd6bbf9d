"""Atomic writes: a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlbench.errors import StoreError

__all__ = ["full_disk", "remove_leftovers", "write_atomically", "write_error"]

#: End of the names of temporary files.
_SUFFIX = ".mlbench.tmp"

#: Seconds after which a temporary file counts as left over: no write takes as long.
_DAY = 24 * 3600.0


def write_atomically(
    path: Path, data: bytes | Callable[[BinaryIO], object], *, advice: str = "choose another folder"
) -> None:
    """Write a file so that a reader sees the old content or the new one at any time.

    data: the content, or a function that writes it, for content too large for memory. advice: where else the
    file could go, for messages. Raises StoreError if the file cannot be written, even if `data` turns that
    into another error; an error that `data` raises for another reason is raised unchanged. A failed write
    leaves no file. Removes what killed writers left in the folder.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(3)}{_SUFFIX}")
    raw = None
    try:
        with _as_store_error(path, advice):
            if path.exists() and not path.is_file():
                raise StoreError(f"{path}: is no regular file; {advice}")
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            raw = _File(temporary, "xb")  # the mode follows the umask; mkstemp's files are for the user alone
        with io.BufferedWriter(raw) as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            raw.sync()
        with _as_store_error(path, advice):
            os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C as well
        if raw is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if (cause := raw.error or full_disk(error)) is not None:
                raise write_error(path, cause, advice) from error
        raise


def remove_leftovers(folder: Path, older_than: float = _DAY, file: str = "*") -> None:
    """Remove temporary files of killed writers from a folder that are older than `older_than` seconds. file:
    glob pattern of the files that they were to become."""
    for leftover in folder.glob(f".{file}.*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime >= older_than:
                leftover.unlink()


def full_disk(error: BaseException | None) -> OSError | None:
    """The OSError behind an error that says that the disk, a quota or a limit is full; None if there is
    none."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return error
        error = error.__cause__ or error.__context__
    return None


def write_error(path: Path, error: OSError, advice: str = "choose another folder") -> StoreError:
    """The StoreError for a file that cannot be written."""
    advice = f"free space or {advice}" if full_disk(error) else advice
    return StoreError(f"{path}: cannot be written ({error.strerror or error}); {advice}")


class _File(io.FileIO):
    """A file that keeps the error of a failed write: torch.save replaces it by one that does not name the
    full disk."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        with self._keeping_error():
            return super().write(data)

    def sync(self) -> None:
        """Wait until the content is on the disk."""
        with self._keeping_error():
            os.fsync(self.fileno())

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            raise


@contextlib.contextmanager
def _as_store_error(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(path, error, advice) from None

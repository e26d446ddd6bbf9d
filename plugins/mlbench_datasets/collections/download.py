"""Downloads that appear whole or not at all, and resume where they stopped."""

# pooch 1.9 downloads and checks files too, but does not resume: a stopped download of several GB would start
# again. It also does not tell a full disk from a failed connection.

from __future__ import annotations

import errno
import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from mlbench.plugin import DataError, write_atomically
from mlbench_datasets.collections.archive import Progress, nothing

__all__ = ["check_digest", "download"]

_BLOCK = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TIMEOUT = 60.0  # seconds without a byte


def download(address: str, file: Path, *, md5: str = "", progress: Progress = nothing) -> None:
    """Download `address` to `file`, in a folder that exists.

    With a digest to check, a stopped download leaves a partial file and resumes from it. Without one it
    starts again, since nothing could tell whether the parts belong together. Raises DataError if the download
    fails, OSError or StoreError if the file cannot be written.
    progress: called with bytes done and bytes in all, 0 while unknown.
    """
    partial = file.with_name(f".{file.name}.part")
    try:
        if md5:
            with partial.open("ab") as target:
                _receive(address, target, progress)
            check_digest(partial, md5, f"{address}: the download", discard=True)
            os.replace(partial, file)
        else:
            write_atomically(file, lambda target: _receive(address, target, progress))
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        if getattr(error, "filename", None) == str(partial) or getattr(error, "errno", None) in _DISK_FULL:
            raise  # the disk, not the network
        if partial.exists() and not partial.stat().st_size:
            partial.unlink()
        reason = error.reason if type(error) is urllib.error.URLError else str(error)
        raise DataError(
            f"{address}: cannot be downloaded ({reason or type(error).__name__}); try again, or download it "
            f"with a browser, save it as {file} and repeat this command"
        ) from None


def check_digest(file: Path, md5: str, what: str, *, discard: bool = False) -> None:
    """Raise DataError if the MD5 digest of `file` differs. discard: whether to remove the file then."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found == md5:
        return
    if discard:
        file.unlink()
    raise DataError(
        f"{what} has the MD5 digest {found}, expected {md5}: damaged, or another version; get it again"
    )


def _receive(address: str, target: BinaryIO, progress: Progress) -> None:
    """Append the missing bytes to `target`, or all of them if the server cannot resume. Raises OSError or
    HTTPException."""
    done = target.tell()
    request = urllib.request.Request(address, headers={"User-Agent": "mlbench"})  # noqa: S310 - of our lists
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing is missing; the digest is checked next
            return
        raise
    with response:
        if getattr(response, "status", None) != 206:
            target.truncate(0)
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        done = _copy(response, target, done, total, progress)
    if done < total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


def _copy(source: BinaryIO, target: BinaryIO, done: int, total: int, progress: Progress) -> int:
    while block := source.read(_BLOCK):
        target.write(block)
        done += len(block)
        progress(done, total)
    return done

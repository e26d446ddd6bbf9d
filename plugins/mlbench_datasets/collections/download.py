"""Downloads by the standard library: whole files or none, taken up again where they stopped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from mlbench.errors import DataError
from mlbench_datasets.collections.archive import Progress, nothing

__all__ = ["check_digest", "download"]

_BLOCK = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TIMEOUT = 60.0  # seconds without a byte


def download(address: str, file: Path, *, md5: str = "", progress: Progress = nothing) -> None:
    """Download `address` to `file`, in a folder that exists.

    What has come so far lies beside it, and becomes `file` when it is complete and its digest is right.
    With a digest to check, a stopped download is taken up where it stopped; without, it starts again, for
    nothing would tell whether the parts fit. Raises DataError.
    progress: called with bytes done, and bytes in all, 0 while unknown.
    """
    if md5:
        partial = file.with_name(f".{file.name}.part")
    else:
        partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        _receive(address, partial, progress)
        if md5:
            check_digest(partial, md5, f"{address}: what came", discard=True)
        os.replace(partial, file)
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        if getattr(error, "filename", None) == str(partial) or getattr(error, "errno", None) in _DISK_FULL:
            raise  # the disk, not the network
        reason = error.reason if type(error) is urllib.error.URLError else str(error)
        raise DataError(
            f"{address}: cannot be had ({reason or type(error).__name__}); try again, or get it with a "
            f"browser, save it as {file} and give the same command"
        ) from None
    finally:
        if not md5:
            with contextlib.suppress(OSError):  # what went wrong before is what is told
                partial.unlink()


def check_digest(file: Path, md5: str, what: str, *, discard: bool = False) -> None:
    """Raise DataError when the MD5 digest of `file` is another; discard: remove it then."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found == md5:
        return
    if discard:
        file.unlink()
    raise DataError(
        f"{what} has the MD5 digest {found}, expected {md5}: damaged, or another version; get it again"
    )


def _receive(address: str, partial: Path, progress: Progress) -> None:
    """Append to `partial` what is missing of it, or write all of it. Raises OSError or HTTPException."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "mlbench"})  # noqa: S310 - of our lists
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing is left: the digest says whether it is right
            return
        raise
    with response:
        resumed = getattr(response, "status", None) == 206
        if not resumed:
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with partial.open("ab" if resumed else "wb") as target:
            done = _copy(response, target, done, total, progress)
    if done < total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


def _copy(source: BinaryIO, target: BinaryIO, done: int, total: int, progress: Progress) -> int:
    while block := source.read(_BLOCK):
        target.write(block)
        done += len(block)
        progress(done, total)
    return done

"""Unpacking of archives: only into their folder, only to a bounded size, all members or none."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO, NamedTuple

from mlbench.plugin import DataError

__all__ = ["Progress", "nothing", "unpack"]

#: Called with bytes done and bytes in all, 0 while unknown.
Progress = Callable[[int, int], None]

# Archives of images grow little: one that grows by this factor was made to fill a disk.
_MOST_GROWTH = 8
_SMALL = 64_000_000
_MOST_MEMBERS = 2_000_000
_BLOCK = 1 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression method that zipfile lacks
)


class _Member(NamedTuple):
    """A file in an archive; content is None for a folder."""

    name: str
    content: Callable[[], IO[bytes] | None] | None


def nothing(done: int, total: int) -> None:
    """A `Progress` that does nothing."""


def unpack(archive: Path, folder: Path, progress: Progress = nothing) -> None:
    """Unpack a .zip or a .tar, compressed or not, into `folder`, which need not exist.

    The files are written to a temporary folder and moved when all are written, so that an interrupted or
    refused archive leaves nothing. Raises DataError for a name that leaves the folder, for links, devices and
    encrypted files, for content that is too large for its archive, for a damaged archive, and for a top-level
    name that `folder` already has.
    progress: called with bytes of the archive read and its size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", suffix=".tmp", dir=folder))
    try:
        with archive.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            most = max(_SMALL, _MOST_GROWTH * size)
            written = 0
            for count, member in enumerate(_members(archive, raw)):
                if count >= _MOST_MEMBERS:
                    raise _refused(archive, f"more than {_MOST_MEMBERS:,} members")
                written += _write(archive, member, temporary, most - written)
                progress(raw.tell(), size)
        _move(archive, temporary, folder)
    except FileExistsError as error:
        raise _refused(archive, f"two members are named {Path(error.filename).name!r}") from None
    except NotADirectoryError as error:
        raise _refused(archive, f"{Path(error.filename).name!r} is inside a file") from None
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise DataError(f"{archive}: damaged, or not an archive ({reason}); get it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(archive: Path, raw: BinaryIO) -> Iterator[_Member]:
    is_zip = raw.read(2) == b"PK"
    raw.seek(0)
    yield from _zip_members(archive, raw) if is_zip else _tar_members(archive, raw)


def _tar_members(archive: Path, raw: BinaryIO) -> Iterator[_Member]:
    with tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            if not (member.isdir() or member.isreg()):
                what = "a link" if member.issym() or member.islnk() else "not a regular file"
                raise _refused(archive, f"{member.name!r} is {what}")
            yield _Member(member.name, None if member.isdir() else partial(tar.extractfile, member))


def _zip_members(archive: Path, raw: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as zipped:
        for member in zipped.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "not a regular file"
                raise _refused(archive, f"{member.filename!r} is {what}")
            if member.flag_bits & 1:
                raise DataError(
                    f"{archive}: {member.filename!r} is encrypted; unpack it yourself, with its password, "
                    f"into {archive.parent}"
                )
            yield _Member(member.filename, None if member.is_dir() else partial(zipped.open, member))


def _write(archive: Path, member: _Member, folder: Path, room: int) -> int:
    """Write one member below `folder`, at most `room` bytes, and return the number of bytes."""
    place = folder.joinpath(*_parts(archive, member.name))
    if member.content is None:
        place.mkdir(parents=True, exist_ok=True)
        return 0
    place.parent.mkdir(parents=True, exist_ok=True)
    source = member.content()
    assert source is not None
    written = 0
    with source, place.open("xb") as target:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > room:
                raise _refused(archive, f"it grows to more than {_MOST_GROWTH} times its size")
            target.write(block)
    return written


def _parts(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's name. Raises DataError for one that could leave the folder, on any system."""
    windows = PureWindowsPath(name)
    parts = PurePosixPath(name).parts
    if not name or "\0" in name or windows.drive or windows.root or ".." in windows.parts:
        raise _refused(archive, f"the name {name!r} leads out of the folder")
    return parts


def _move(archive: Path, source: Path, folder: Path) -> None:
    names = sorted(os.listdir(source))
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        raise DataError(
            f"{folder / there[0]} exists, and {archive.name} contains it too; move it away and try again"
        )
    for name in names:
        os.rename(source / name, folder / name)


def _refused(archive: Path, reason: str) -> DataError:
    return DataError(f"{archive}: refused, nothing is unpacked: {reason}")

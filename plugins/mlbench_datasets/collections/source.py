"""Sources of published data sets: where their files come from, and which of them are on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlbench.plugin import DataCheck, DataError, DataProgress, DataState
from mlbench_datasets.collections.archive import unpack
from mlbench_datasets.collections.download import check_digest, download

__all__ = ["Archive", "Layout", "Source"]

#: Paths, relative to the folder, that a complete data set has.
Layout = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that unpacks into the folder.

    file: its name in the folder. gives: a path that exists once it is unpacked. address: for downloads, "" if
    only a person can download it. md5: its published digest, "" if none is published.
    """

    file: str
    gives: str
    address: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Source:
    """A `DataSource` of archives, or of the files that `obtain` makes.

    name: of the data set, and of its folder below data_root, into which `fetch` puts the files. folder: of
    the files. instructions: what to put there by hand. layouts: the possible layouts of its files; one is
    enough. examine: checks every file of a folder that is ready. obtain: gets the files without archives.
    """

    name: str
    home: str
    licence: str
    size: int
    folder: Path
    data_root: Path
    instructions: str
    layouts: tuple[Layout, ...]
    examine: Callable[[Path, DataProgress], DataCheck]
    archives: tuple[Archive, ...] = ()
    obtain: Callable[[Path, DataProgress], None] | None = None

    def layout(self) -> Layout | None:
        """The first complete layout."""
        return next((each for each in self.layouts if all(map(self._has, each))), None)

    def state(self) -> DataState:
        if self.layout() is not None:
            return "ready"
        return "incomplete" if any(self._has(path) for each in self.layouts for path in each) else "missing"

    def check(self, progress: DataProgress) -> DataCheck:
        if self.layout() is None:
            return DataCheck((), (str(self.absent()),))
        try:
            return self.examine(self.folder, progress)
        except DataError as error:
            return DataCheck((), (str(error),))

    def fetch(self, progress: DataProgress) -> None:
        if self.obtain is not None:
            self.obtain(self.folder, progress)
        else:
            self._fetch_archives(progress)
        if self.layout() is None:
            raise self.absent()

    def command(self, verb: str) -> str:
        """`mlbench data VERB` for this folder; "" for another folder, which the command does not know."""
        if self.folder != self.data_root / self.name:
            return ""
        return f"mlbench data {verb} {self.name} --root {self.data_root}"

    def absent(self) -> DataError:
        """The error that names missing files and says what to do."""
        nearest = min(self.layouts, key=lambda layout: sum(not self._has(path) for path in layout))
        missing = ", ".join(path for path in nearest if not self._has(path))
        text = self.instructions
        if command := self.command("fetch"):
            halves = [each.gives for each in self.archives if each.address and self._has(each.gives)]
            if halves:
                text = f"move the incomplete {self.folder / halves[0]} away and run: {command}"
            elif self.obtain is not None or any(archive.address for archive in self.archives):
                text = f"run: {command}; or by hand: {text}"
            else:
                text = f"{text} ({command} does that safely)"
        return DataError(
            f"{self.folder}: files of {self.name} are missing ({missing}); {text}. "
            f"See {self.home}; licence: {self.licence}"
        )

    def _has(self, path: str) -> bool:
        return os.path.exists(self.folder / path)

    def _fetch_archives(self, progress: DataProgress) -> None:
        """Unpack the archives that a person has put into the folder; download them if there are none.

        Unpacked archives, complete or not, stay untouched.
        """
        wanted = [archive for archive in self.archives if not self._has(archive.gives)]
        here = [archive for archive in wanted if self._has(archive.file)]
        for archive in here:
            file = self.folder / archive.file
            if archive.md5:
                check_digest(file, archive.md5, str(file))
            unpack(file, self.folder, _in_megabytes(progress, f"unpacking {archive.file} (MB)"))
        if here:
            return
        for archive in wanted:
            if archive.address:
                self._download(archive, progress)

    def _download(self, archive: Archive, progress: DataProgress) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        needed, free = 2 * self.size, shutil.disk_usage(self.folder).free
        if free < needed:
            raise DataError(
                f"{self.folder}: {archive.file} and its content need about {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free; free space, or name another folder with --root"
            )
        file = self.folder / archive.file
        report = _in_megabytes(progress, f"downloading {archive.file} (MB)")
        download(archive.address, file, md5=archive.md5, progress=report)
        unpack(file, self.folder, _in_megabytes(progress, f"unpacking {archive.file} (MB)"))
        file.unlink()  # an archive that a person put there stays


def _in_megabytes(progress: DataProgress, what: str) -> Callable[[int, int], None]:
    return partial(_report, progress, what)


def _report(progress: DataProgress, what: str, done: int, total: int) -> None:
    progress(what, done // 10**6, max(done, total) // 10**6)

"""Search for image files in folders, and names of splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mlbench.contracts import SplitName
from mlbench.errors import DataError, first_few
from mlbench.images.formats import HEIF_SUFFIXES, IMAGE_SUFFIXES
from mlbench.names import one_form

__all__ = [
    "IMAGE_SUFFIXES",
    "SPLIT_NAMES",
    "FoundImages",
    "find_images",
    "kind_of",
    "split_of",
    "subfolders",
]

#: Accepted names of splits in folders and manifests, in lower case; case is ignored.
SPLIT_NAMES: Mapping[str, SplitName] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "calibration": "calibration",
        "val": "calibration",
        "valid": "calibration",
        "validation": "calibration",
        "dev": "calibration",
        "test": "test",
        "testing": "test",
    }
)

#: Files and folders that operating systems and archives create, such as thumbnails, in lower case.
_OF_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx"))

_SHOWN = 5
_LONGEST_SUFFIX = 16


@dataclass
class FoundImages:
    """The files below a folder.

    paths: of the images, relative to the folder, with "/", sorted. others: counts of other files by kind.
    example: one of them. hidden: hidden folders, which are skipped. links: links to a folder that contains
    them, which are skipped.
    """

    paths: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    example: str = ""
    hidden: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Notes on files and folders that are not read, one line each."""
        notes = []
        if self.others:
            kinds = sorted(self.others.items(), key=lambda each: (-each[1], each[0]))
            named = [f"{count:,} {kind}" for kind, count in kinds[:_SHOWN]]
            if len(kinds) > _SHOWN:
                named.append(f"{sum(count for _, count in kinds[_SHOWN:]):,} of other kinds")
            count, total = self.others.total(), self.others.total() + len(self.paths)
            example = f"; such as {self.example}" if self.example else ""
            notes.append(f"{count:,} of {total:,} files not read: {', '.join(named)}{example}")
        for what, paths in (
            ("hidden folders, not searched", self.hidden),
            ("links to a folder that contains them, not followed", self.links),
        ):
            if paths:
                notes.append(f"{what}: {first_few(sorted(paths), _SHOWN)}")
        return notes


def find_images(folder: Path, known: Path | None = None) -> FoundImages:
    """Find the image files at any depth below `folder`, by their suffixes, and count the other files.

    Hidden files and folders, and those of operating systems, are skipped. Links are followed, except to a
    folder that contains them. known: a file that is read for another purpose and not counted. Raises
    DataError if a folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(_absence(folder))
    found = FoundImages()
    try:
        _walk(str(folder), "", (), str(known), found)
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None
    found.paths.sort()
    return found


def split_of(name: str) -> SplitName | None:
    """The split with this name, or None."""
    return SPLIT_NAMES.get(one_form(name).casefold())


def subfolders(folder: Path) -> list[str]:
    """Names of the sub-folders that `find_images` searches, sorted. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not _is_hidden(entry.name) and _is_folder(entry) and not _leads_back(entry)
        )


def _walk(
    folder: str, prefix: str, ancestors: tuple[tuple[int, int], ...], known: str, found: FoundImages
) -> None:
    here = os.stat(folder)
    identity = (here.st_dev, here.st_ino)
    if identity in ancestors:
        found.links.append(prefix.rstrip("/"))
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if _is_folder(entry):
                if _is_hidden(entry.name):
                    found.hidden.append(path)
                else:
                    _walk(entry.path, f"{path}/", (*ancestors, identity), known, found)
            elif _is_hidden(entry.name):
                found.others["hidden or of the system"] += 1
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                found.paths.append(path)
            elif entry.path != known:
                found.others[kind_of(entry.name)] += 1
                found.example = min(found.example or path, path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a cycle of links
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a folder that contains it."""
    if not entry.is_symlink():
        return False
    place = Path(entry.path)
    return place.parent.resolve().is_relative_to(place.resolve())


def kind_of(name: str) -> str:
    """The kind of a file that is not read, for counts: its suffix, and what to install to read it."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in HEIF_SUFFIXES:
        return f"{suffix} (pip install 'mlbench[heic]')"
    if len(suffix) > _LONGEST_SUFFIX or not suffix.isprintable():
        return "with an odd suffix"
    return suffix if len(suffix) > 1 else "without a suffix"


def _absence(folder: Path) -> str:
    """The message for a folder that does not exist, with the part of its path that does."""
    if folder.exists():
        return f"{folder}: not a folder"
    known = next(parent for parent in folder.absolute().parents if parent.exists())
    return (
        f"{folder}: no such folder (there is {known}); relative paths in a suite start at $MLBENCH_DATA "
        "if that is set, else at the folder of the suite"
    )

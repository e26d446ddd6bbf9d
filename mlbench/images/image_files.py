"""Image files in folders: which names count as images, what users call the splits, how to search."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from mlbench.contracts import SplitName
from mlbench.errors import DataError
from mlbench.images.formats import IMAGE_SUFFIXES

__all__ = ["IMAGE_SUFFIXES", "SPLIT_NAMES", "walk_images"]

#: What users call the splits, in folders and in manifests.
SPLIT_NAMES: Mapping[str, SplitName] = MappingProxyType(
    {
        "train": "train",
        "calibration": "calibration",
        "val": "calibration",
        "validation": "calibration",
        "test": "test",
    }
)


def walk_images(folder: Path) -> list[str]:
    """Paths of the image files at any depth below `folder`, relative to it, with "/", sorted.

    Hidden files and folders are left out. Links are followed, but not into a folder that they are in.
    Raises DataError when there is no such folder or one cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(_absence(folder))
    try:
        return sorted(_walk(str(folder), "", ()))
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None


def _walk(folder: str, prefix: str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[str]:
    here = os.stat(folder)
    identity = (here.st_dev, here.st_ino)
    if identity in ancestors:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*ancestors, identity))
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                yield prefix + entry.name


def _absence(folder: Path) -> str:
    """Why `folder` is none, and how far its path goes."""
    if folder.exists():
        return f"{folder}: not a folder"
    known = next(parent for parent in folder.absolute().parents if parent.exists())
    return (
        f"{folder}: no such folder (there is {known}); relative paths in a suite start at $MLBENCH_DATA "
        "if that is set, else at the folder of the suite"
    )

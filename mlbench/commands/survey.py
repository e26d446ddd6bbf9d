"""The user's own images: a manifest, or a folder with class folders at some level."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlbench.errors import DataError, first_few
from mlbench.images.class_folders import read_class_folders

__all__ = ["Survey", "survey"]

_TABLES = (".csv", ".parquet", ".tsv")
_SHOWN = 3  # names of classes at each level


@dataclass(frozen=True, slots=True)
class Survey:
    """The content of a folder of images, or a manifest.

    level: of the class folders, None for a manifest. levels: classes and their numbers of images at each
    level, from 1; empty where there are no class folders. divided: whether folders name the splits. tables:
    other files in the folder that may be manifests.
    """

    place: Path
    level: int | None
    levels: tuple[Counter[str], ...] = ()
    divided: bool = False
    tables: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The classes at each level, the chosen level, and how to choose another."""
        for level, classes in enumerate(self.levels, 1):
            leaves = ", where every class folder is a leaf" if level == len(self.levels) else ""
            chosen = f"; chosen{leaves}" if level == self.level and len(self.levels) > 1 else ""
            yield f"level {level}: {_classes(classes)}{chosen}"
        if len(self.levels) > 1:
            yield "for the classes of another level: --level N"
        if self.tables:
            files = ", ".join(self.tables)
            yield f"not read: {files}; name such a file instead of the folder if it is a manifest"


def survey(place: Path, level: int | None = None) -> Survey:
    """Read the names of the files in a folder; a manifest is not read.

    level: of the class folders, None for the deepest, where every class folder is a leaf. Raises DataError
    for a missing path, and for a level without class folders.
    """
    place = place.expanduser().resolve()
    try:
        str(place).encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: the path is not UTF-8, so no suite can name it; rename it") from None
    if not place.exists():
        raise DataError(f"{place}: no such folder; name the folder that holds your images, or a manifest")
    if place.is_file():
        if level is not None:
            raise DataError(f"{place}: a file has no levels; leave --level out, or name a folder")
        return Survey(place, None)
    found = read_class_folders(place)
    if level is not None and level > found.depth:
        raise DataError(
            f"{place}: no class folders at level {level}; the images lie at most {found.depth} folders deep"
        )
    tables = sorted(file.name for file in place.iterdir() if file.suffix.lower() in _TABLES)
    levels = tuple(found.classes(each) for each in range(1, found.depth + 1))
    return Survey(place, level or max(1, found.depth), levels, bool(found.splits), tuple(tables))


def _classes(classes: Counter[str]) -> str:
    names = sorted(classes)
    sizes = sorted(classes.values())
    each = f"{sizes[0]:,}"
    if sizes[0] < sizes[-1]:
        each = f"{sizes[0]:,} to {sizes[-1]:,} (median {statistics.median_low(sizes):,})"
    plural = "es" if len(names) > 1 else ""
    return f"{len(names):,} class{plural} ({first_few(names, _SHOWN)}), images in each: {each}"

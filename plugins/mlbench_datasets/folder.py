"""Folders of images, read as the rows of a manifest: one sub-folder for each class, `CLASS/*.jpg`, or the
user's splits, `train/CLASS/*.jpg`, `test/CLASS/*.jpg` and optionally `calibration/CLASS/*.jpg`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlbench.plugin import (
    IMAGE_SUFFIXES,
    ClassFolders,
    DataError,
    Manifest,
    ManifestRow,
    OptionError,
    kind_of,
    read_class_folders,
)
from mlbench_datasets.notes import examples

__all__ = ["read_folder"]


def read_folder(folder: Path, level: int = 1) -> Manifest:
    """The images below `folder` as rows. The folders at `level` are the classes (see `ClassFolders`).

    Raises DataError for a missing folder, a folder without images and an empty class, OptionError for a level
    that is deeper than all images.
    """
    found = read_class_folders(folder)
    rows = []
    for path in found.paths:
        label = found.label(path, level)
        if label:
            split = found.splits.get(found.place(path)[0])
            rows.append(ManifestRow(f"{folder}/{path}", path, label, split, None, None))
    try:
        _check(found, level, len(rows))
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None
    return Manifest(rows, list(_notes(found, level, len(rows))))


def _check(found: ClassFolders, level: int, images: int) -> None:
    """Raise an error for a folder that has no images in classes, or a class without images."""
    if not images and found.paths:
        raise DataError(
            f"{found.folder}: {len(found.paths):,} images, but no class folders; put the images of each "
            "class into one folder, or write a manifest (mlbench show dataset image_folder); where every "
            "image is a class, the data set document_pool makes photographs of it"
        )
    empty = found.empty(level)
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        names = ", ".join(f"{name}/" for name in empty[:3])
        raise DataError(
            f"{found.folder}: no images in {names}{more} ({_contents(found.folder / empty[0])}); "
            "fill the folder or remove it"
        )
    if not images:
        raise DataError(f"{found.folder}: no images ({_contents(found.folder)})")
    if level > found.depth:
        raise OptionError(
            f"{found.folder}: no class folders at level {level}; the images lie at most {found.depth} "
            "folders deep",
            "level",
        )


def _notes(found: ClassFolders, level: int, images: int) -> Iterator[str]:
    """Notes about the layout of the folders."""
    yield from found.notes
    if found.beside:
        counts = Counter(path.partition("/")[0] for path in found.paths)
        names = [f"{name}/ (images: {counts[name]})" for name in found.beside]
        yield f"folders beside the split folders ({', '.join(found.splits)}), left out: {examples(names)}"
    outside = len(found.paths) - images - sum(path.partition("/")[0] in found.beside for path in found.paths)
    if outside:
        yield f"images outside of class folders, ignored: {outside}"
    deeper = [path for path in found.paths if len(found.place(path)[1]) > level]
    if deeper:
        yield (
            f"{len(deeper)} of {images} images lie in sub-folders of a class folder (level {level} of "
            f"{found.depth}): {examples(deeper)}"
        )
    forms: dict[tuple[str, str], set[str]] = {}
    for path in found.paths:
        split, parts = found.place(path)
        written = "/".join(parts[:level])
        if not written.isascii():
            forms.setdefault((split, found.label(path, level)), set()).add(written)
    twice = sorted(label for (_, label), names in forms.items() if len(names) > 1)
    if twice:
        yield f"folders whose names differ only in their Unicode form, read as one class: {examples(twice)}"
    classes = found.classes(level)
    above = {name[:end] for name in classes for end, sign in enumerate(name) if sign == "/"}
    outer = sorted(above & classes.keys())
    if outer:
        yield f"classes whose folders hold other class folders: {examples(outer)}"


def _contents(folder: Path) -> str:
    """The contents of a folder without images, in words."""
    kinds = Counter(kind_of(name) for _, _, names in os.walk(folder) for name in names if name[0] != ".")
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())[:4]) or "it is empty"
    return f"{found}; images end in {' '.join(sorted(IMAGE_SUFFIXES))}" if kinds else found

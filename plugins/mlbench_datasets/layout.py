"""Folders of images read as a manifest: one sub-folder for each class, `CLASS/*.jpg`, or split by the user
into `train/CLASS/*.jpg`, `test/CLASS/*.jpg` and, if wanted, `calibration/CLASS/*.jpg`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from mlbench.errors import DataError
from mlbench.images.image_files import IMAGE_SUFFIXES, SPLIT_NAMES, walk_images
from mlbench_datasets.manifest import Manifest, Row

__all__ = ["read_folder"]


def read_folder(folder: Path) -> Manifest:
    """The images below `folder` as rows. Raises DataError for a missing folder and for one without images."""
    paths = walk_images(folder)
    try:
        top = _subfolders(folder)
        split_names = [name for name in top if name in SPLIT_NAMES]
        if not split_names:
            return _read(folder, paths, {name: ("", name) for name in top})
        if len(split_names) == len(top):
            below = {name: _subfolders(folder / name) for name in top}
            return _read(
                folder,
                paths,
                {f"{split}/{name}": (split, name) for split, names in below.items() for name in names},
            )
        if {"train", "test"} <= set(split_names):
            others = ", ".join(sorted(set(top) - set(split_names))[:3])
            raise DataError(
                f"{folder}: folders of splits ({', '.join(split_names)}) stand beside others ({others}); "
                f"the splits are called {', '.join(SPLIT_NAMES)}, and classes lie inside them"
            )
        return _read(folder, paths, {name: ("", name) for name in top})
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _read(folder: Path, paths: list[str], classes: dict[str, tuple[str, str]]) -> Manifest:
    """classes: folder of the class, relative, to its split ("" for none) and name."""
    depth = 1 + max((place.count("/") for place in classes), default=0)
    rows, outside, filled = [], 0, set()
    for path in paths:
        place = "/".join(path.split("/", depth)[:depth])
        if place not in classes:
            outside += 1
            continue
        split, name = classes[place]
        filled.add(place)
        rows.append(Row(f"{folder}/{path}", path, name, SPLIT_NAMES.get(split), None, None))
    if not rows and outside:
        raise DataError(
            f"{folder}: images, but no class folders; put the images of each class into a folder of "
            "its own, or write a manifest (if every image is a class of its own, see document_pool)"
        )
    empty = sorted(set(classes) - filled)
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        names = ", ".join(f"{place}/" for place in empty[:3])
        raise DataError(
            f"{folder}: no images in {names}{more} ({_contents(folder / empty[0])}); "
            "fill the folder or remove it"
        )
    if not rows:
        raise DataError(f"{folder}: no images ({_contents(folder)})")
    return Manifest(rows, [f"images outside of class folders, ignored: {outside}"] if outside else [])


def _contents(folder: Path) -> str:
    """What lies in a folder without images, in words."""
    suffixes = Counter(
        os.path.splitext(name)[1].lower() or "without suffix"
        for _, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    )
    found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items())[:4]) or "it is empty"
    return f"{found}; images end in {' '.join(sorted(IMAGE_SUFFIXES))}" if suffixes else found

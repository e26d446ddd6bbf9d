"""Images of people in folders: the test images of a list of pairs, and the other people for training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.plugin import DataError, PairList, find_images, hint, one_form
from mlbench_datasets.containers.file_cache import stamp
from mlbench_datasets.containers.pair_list import Portrait, read_pair_list
from mlbench_datasets.containers.recordio import read_records
from mlbench_datasets.containers.split import ContainerSplit, FileSource, Pool, part
from mlbench_datasets.duplicates import HashedImage, duplicate_notes
from mlbench_datasets.folder import read_folder
from mlbench_datasets.image_index import index_images
from mlbench_datasets.notes import left_out, remarked

__all__ = ["PairedTest", "paired_test", "training_pool"]


@dataclass(frozen=True)
class PairedTest:
    """split: the images of a list of pairs. left_over: path to person, for the people in no pair. copies: the
    images, to look for duplicates in other splits. content: a hash of the images and the list."""

    split: ContainerSplit
    pairs: PairList
    left_over: Mapping[str, str]
    copies: Sequence[HashedImage]
    content: bytes


def paired_test(folder: Path, pair_file: Path, image_size: int, notes: list[str]) -> PairedTest:
    """The images of a list of pairs. Raises DataError for the first that is missing or cannot be read."""
    listed = read_pair_list(pair_file)
    found = find_images(folder, pair_file)
    notes += found.notes()
    portraits = _portraits(folder, found.paths)
    if len(portraits) < len(found.paths):
        count = len(found.paths) - len(portraits)
        notes.append(f"images with other names than NAME_0001.jpg, ignored: {count}")
    rows: dict[Portrait, int] = {}
    for pair in listed:
        for each in (pair.left, pair.right):
            if each not in portraits:
                people = {portrait.person for portrait in portraits}
                close = "" if each.person in people else f"; {hint(each.person, people, show=3)}"
                name = f"{each.person}_{each.number:04d}"
                raise DataError(f"{pair.where}: no image {name} in {folder}{close}")
            rows.setdefault(each, len(rows))
    paths = [portraits[each] for each in rows]
    index = index_images(folder, paths, source=pair_file)
    if index.unreadable:
        raise DataError(f"{folder}: {left_out(paths, index.unreadable)}, but they are in {pair_file.name}")
    notes += remarked(paths, index.remarks)
    pool = _pool(folder, paths, [each.person for each in rows])
    copies = [
        HashedImage("test", each.person, digest.tobytes(), path)
        for each, digest, path in zip(rows, index.digests, paths, strict=True)
    ]
    pairs = PairList(
        np.array([rows[pair.left] for pair in listed]),
        np.array([rows[pair.right] for pair in listed]),
        np.array([pair.same for pair in listed]),
        np.array([pair.fold for pair in listed]),
    )
    split = part(pool, pool.names, image_size, train=False)
    tested = set(pool.names)
    left_over = {path: each.person for each, path in portraits.items() if each.person not in tested}
    digest = hashlib.blake2b(index.digests.tobytes())
    for column in pairs:
        digest.update(column.tobytes())
    return PairedTest(split, pairs, left_over, copies, digest.digest())


def training_pool(
    place: Path, left_over: Mapping[str, str] | None, tested: Sequence[HashedImage], notes: list[str]
) -> tuple[Pool, bytes]:
    """The training images, and bytes that stand for their content. They are the images `left_over` in a
    folder, or all images of a folder of classes or of a .rec file. tested: images of the test split."""
    if left_over is None and place.suffix == ".rec" and not place.is_dir():
        return read_records(place, notes), stamp([place, place.with_suffix(".idx")])
    if left_over is None:
        manifest = read_folder(place)
        notes += manifest.notes
        left_over = {row.path: row.label for row in manifest.rows}
    if not left_over:
        raise DataError(
            f"{place}: every person is in a pair, none is left to train on; set the option train to a folder"
        )
    paths = sorted(left_over)
    index = index_images(place, paths)
    if index.unreadable:
        notes.append(left_out(paths, index.unreadable))
    readable = [at for at in range(len(paths)) if at not in index.unreadable]
    if not readable:
        raise DataError(f"{place}: {notes[-1]}")
    notes += remarked(paths, index.remarks)
    trained = [
        HashedImage("train", left_over[paths[at]], index.digests[at].tobytes(), paths[at]) for at in readable
    ]
    notes += duplicate_notes([*trained, *tested])
    pool = _pool(place, [paths[at] for at in readable], [left_over[paths[at]] for at in readable])
    return pool, index.digests[readable].tobytes()


def _portraits(folder: Path, paths: Sequence[str]) -> dict[Portrait, str]:
    """Paths of the images with names of the form NAME_NUMBER."""
    found: dict[Portrait, str] = {}
    for path in paths:
        person, _, number = one_form(os.path.splitext(os.path.basename(path))[0]).rpartition("_")
        if person and number.isdecimal():
            portrait = Portrait(person, int(number))
            other = found.setdefault(portrait, path)
            if other != path:
                raise DataError(f"{folder}: {other} and {path} have the same name; keep one of them")
    if not found:
        raise DataError(
            f"{folder}: no images with names such as NAME_0001.jpg; is this a folder in the form of LFW?"
        )
    return found


def _pool(folder: Path, paths: list[str], people: list[str]) -> Pool:
    names = sorted(set(people))
    codes = {name: code for code, name in enumerate(names)}
    classes = np.array([codes[person] for person in people], np.int64)
    return Pool(FileSource(str(folder), np.array([os.fsencode(path) for path in paths])), classes, names)

"""Tar shards of samples: which image lies where, under which label. Shards are read by position and never
unpacked, so that neither links nor names in them can do harm."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from mlbench.plugin import IMAGE_SUFFIXES, DataError, first_line, hint, one_form
from mlbench_datasets.containers.kept import kept
from mlbench_datasets.containers.split import Pool, read_bytes
from mlbench_datasets.notes import examples

__all__ = ["IMAGE_EXTENSIONS", "ShardSource", "index_shards"]

_FIRST = ("jpg", "jpeg", "png", "webp")

#: Of a sample's image; the first that a sample has is taken.
IMAGE_EXTENSIONS = tuple(dict.fromkeys((*_FIRST, *(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES)))))

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_MOST_LABEL_BYTES = 1 << 20
_LONGEST_NAME = 200


@dataclass(frozen=True)
class ShardSource:
    """Images of all shards. shards: (N,) int32, positions in `files`; offsets, sizes: (N,) int64 bytes;
    keys: (N,) bytes, names of the samples."""

    files: Sequence[str]
    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray

    def read(self, item: int) -> bytes:
        return read_bytes(self.files[self.shards[item]], int(self.offsets[item]), int(self.sizes[item]))

    def where(self, item: int) -> str:
        return f"{self.files[self.shards[item]]}: {self.keys[item].decode(errors='replace')}"


def index_shards(files: Sequence[Path], label_key: str, notes: list[str]) -> Pool:
    """The samples of the shards in order. label_key: of the label in a sample's .json; "" for its .cls.

    Each shard is indexed once, and again when it changes. Raises DataError for a damaged or compressed shard,
    and for an image without a label.
    """
    what = f"shard {len(IMAGE_EXTENSIONS)} {label_key}"  # which are images depends on what is installed
    found = [kept(what, [file], partial(_learnt, file, label_key)) for file in files]
    without = Counter[str]()
    for each in found:
        for members, count in zip(each["without"].tolist(), each["counts"].tolist(), strict=True):
            without[members.decode()] += count
    dots = _about_dots(without)
    if without:
        kinds = examples([f"{count:,} of {members}" for members, count in without.most_common()])
        notes.append(f"samples without an image that is read, ignored: {without.total():,} ({kinds}){dots}")
    spare = [each["spare"].tolist() for each in found if len(each["spare"])]
    if spare:
        count = sum(map(len, spare))
        notes.append(
            f"images beside the one that is read of their sample, ignored: {count:,} (such as "
            f"{spare[0][0].decode()}); of a sample the first of .{' .'.join(_FIRST)} is read"
        )
    shards = np.repeat(np.arange(len(files), dtype=np.int32), [len(each["offsets"]) for each in found])
    if not len(shards):
        raise DataError(
            f"{files[0].parent}: no images in {len(files)} shards; expected members such as 0001.jpg and "
            f"{'0001.json' if label_key else '0001.cls'}{dots}"
        )
    offsets, sizes, keys, labels = (
        np.concatenate([each[name] for each in found]) for name in ("offsets", "sizes", "keys", "labels")
    )
    names, classes = np.unique(labels, return_inverse=True)
    source = ShardSource([str(file) for file in files], shards, offsets, sizes, keys)
    return Pool(source, classes.astype(np.int64), [name.decode() for name in names.tolist()])


def _about_dots(without: Iterable[str]) -> str:
    """Why members that look like images are none: what to say behind the samples that have no image."""
    for members in without:
        for member in members.split():
            if _last(member) in IMAGE_EXTENSIONS:
                return (
                    f"; the name of a sample ends at its first dot, and what follows ({member}) is not the "
                    "extension of an image: write the shards with other signs for the other dots"
                )
    return ""


def _learnt(file: Path, label_key: str) -> dict[str, np.ndarray]:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    rows, without, spare = [], Counter[bytes](), []
    try:
        with file.open("rb") as stream:
            _refuse_compressed(file, stream.read(6))
            stream.seek(0)
            for path, offset, size in _members(file, stream):
                folder, slash, base = path.rpartition("/")
                stem, _, extension = base.partition(".")
                # Hidden, or about the shard itself.
                if not stem or (base.startswith("__") and base.endswith("__")):
                    continue
                sample = samples.setdefault(folder + slash + stem, {})
                if extension.lower() in sample:
                    raise DataError(f"{file}: {path} stands twice; keep one")
                sample[extension.lower()] = offset, size
            for key, sample in samples.items():
                image, *others = [each for each in IMAGE_EXTENSIONS if each in sample] or [""]
                others += [each for each in sample if "." in each and _last(each) in IMAGE_EXTENSIONS]
                if image:
                    spare += [f"{key}.{each}".encode(errors="backslashreplace") for each in others]
                    label = _label(f"{file}: {key}", stream, sample, label_key)
                    name = key.encode(errors="backslashreplace")[-_LONGEST_NAME:]
                    rows.append((*sample[image], name, label.encode()))
                else:
                    members = " ".join(f".{extension}" for extension in sorted(sample))
                    without[members.encode(errors="backslashreplace")[-_LONGEST_NAME:]] += 1
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    offsets, sizes, keys, labels = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {
        "offsets": np.array(offsets, np.int64),
        "sizes": np.array(sizes, np.int64),
        "keys": np.array(keys, np.bytes_),
        "labels": np.array(labels, np.bytes_),
        "without": np.array(list(without), np.bytes_),
        "counts": np.array(list(without.values()), np.int64),
        "spare": np.array([each[-_LONGEST_NAME:] for each in spare], np.bytes_),
    }


def _last(extension: str) -> str:
    """What follows the last dot."""
    return extension.rpartition(".")[2]


def _members(file: Path, stream: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, byte offset and size of every plain file; links, folders and devices are passed over."""
    end = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                if member.size < 0 or member.offset < end:
                    raise DataError(f"{file}: {member.name} is not where it should be; damaged?")
                end = member.offset_data
                if member.isreg() and not member.issparse():
                    yield member.name, member.offset_data, member.size
    except tarfile.TarError as error:
        raise DataError(f"{file}: not a tar archive, or damaged ({first_line(error)})") from None


def _refuse_compressed(file: Path, start: bytes) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise DataError(
                f"{file}: compressed with {name}, so that no image can be read without all before it; "
                "decompress the shard to .tar (images hardly shrink anyway)"
            )


def _label(where: str, stream: IO[bytes], sample: dict[str, tuple[int, int]], label_key: str) -> str:
    """The class of a sample, as text."""
    extension = "json" if label_key else "cls"
    if extension not in sample:
        there = ", ".join(f".{each}" for each in sorted(sample))
        advice = "" if label_key else ", or name the label's key in .json as label_key"
        raise DataError(f"{where} has no .{extension} (it has {there}); every image needs a label{advice}")
    offset, size = sample[extension]
    if size > _MOST_LABEL_BYTES:
        raise DataError(f"{where}.{extension}: {size:,} bytes are no label")
    stream.seek(offset)
    content = stream.read(size)
    if not label_key:
        text = content.decode("ascii", errors="replace").strip()
        if not text.isdecimal():
            raise DataError(f"{where}.cls: {text[:40]!r} is not a class number")
        return str(int(text))
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}.json: not JSON ({first_line(error)})") from None
    if not isinstance(data, dict) or label_key not in data:
        known = hint(label_key, data) if isinstance(data, dict) else "it is no mapping"
        raise DataError(f"{where}.json: no key {label_key!r}; {known}")
    label = data[label_key]
    text = (
        one_form(str(label)).strip() if isinstance(label, str | int) and not isinstance(label, bool) else ""
    )
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        found = repr(label)[:40]
        raise DataError(f"{where}.json: {label_key} is {found}; expected a short name or a whole number")
    return one_form(text)

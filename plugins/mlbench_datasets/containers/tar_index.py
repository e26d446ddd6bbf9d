"""Indexes of tar shards: the position and the label of each image. Shards are read by position and never
unpacked, so links and names in them do no harm."""

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
from mlbench_datasets.containers.file_cache import cached
from mlbench_datasets.containers.split import Pool, read_bytes
from mlbench_datasets.notes import examples

__all__ = ["IMAGE_EXTENSIONS", "ShardSource", "index_shards"]

_FIRST = ("jpg", "jpeg", "png", "webp")

#: Extensions of images; the first of them that a sample has is read.
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
    """The samples of the shards, in order. label_key: key of the label in a sample's .json; "" for its .cls.

    The index of each shard is cached until the shard changes. Raises DataError for a damaged or compressed
    shard, and for an image without a label.
    """
    what = f"shard {len(IMAGE_EXTENSIONS)} {label_key}"  # installed decoders decide which members are images
    found = [cached(what, [file], partial(_index_shard, file, label_key)) for file in files]
    without = Counter[str]()
    for each in found:
        for members, count in zip(each["without"].tolist(), each["counts"].tolist(), strict=True):
            without[members.decode()] += count
    dots = _about_dots(without)
    if without:
        kinds = examples([f"{count:,} of {members}" for members, count in without.most_common()])
        notes.append(f"samples without a readable image, ignored: {without.total():,} ({kinds}){dots}")
    spare = [each["spare"].tolist() for each in found if len(each["spare"])]
    if spare:
        count = sum(map(len, spare))
        notes.append(
            f"further images of samples, ignored: {count:,} (such as {spare[0][0].decode()}); "
            f"each sample's first of .{' .'.join(_FIRST)} is read"
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
    """A hint about dots in names, for samples whose members look like images; "" for no such member."""
    for members in without:
        for member in members.split():
            if _last(member) in IMAGE_EXTENSIONS:
                return (
                    f"; the name of a sample ends at its first dot, and the rest ({member}) is not the "
                    "extension of an image: write the shards without other dots in the names"
                )
    return ""


def _index_shard(file: Path, label_key: str) -> dict[str, np.ndarray]:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    rows, without, spare = [], Counter[bytes](), []
    try:
        with file.open("rb") as stream:
            _refuse_compressed(file, stream.read(6))
            stream.seek(0)
            for path, offset, size in _members(file, stream):
                folder, slash, base = path.rpartition("/")
                stem, _, extension = base.partition(".")
                # Hidden files, and metadata of the shard itself.
                if not stem or (base.startswith("__") and base.endswith("__")):
                    continue
                sample = samples.setdefault(folder + slash + stem, {})
                if extension.lower() in sample:
                    raise DataError(f"{file}: {path} appears twice; keep one")
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
    """The part after the last dot."""
    return extension.rpartition(".")[2]


def _members(file: Path, stream: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, byte offset and size of every regular file; links, folders and devices are skipped."""
    end = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                if member.size < 0 or member.offset < end:
                    raise DataError(f"{file}: {member.name} is at an impossible position; damaged?")
                end = member.offset_data
                if member.isreg() and not member.issparse():
                    yield member.name, member.offset_data, member.size
    except tarfile.TarError as error:
        raise DataError(f"{file}: not a tar archive, or damaged ({first_line(error)})") from None


def _refuse_compressed(file: Path, start: bytes) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise DataError(
                f"{file}: compressed with {name}, so an image cannot be read without everything before it; "
                "decompress the shard to .tar (compression hardly shrinks images)"
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
        raise DataError(f"{where}.{extension}: {size:,} bytes are too long for a label")
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
        known = hint(label_key, data) if isinstance(data, dict) else "it is not a mapping"
        raise DataError(f"{where}.json: no key {label_key!r}; {known}")
    label = data[label_key]
    text = (
        one_form(str(label)).strip() if isinstance(label, str | int) and not isinstance(label, bool) else ""
    )
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        found = repr(label)[:40]
        raise DataError(f"{where}.json: {label_key} is {found}; expected a short name or an integer")
    return one_form(text)

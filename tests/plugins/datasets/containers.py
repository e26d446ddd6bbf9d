"""Small container files in their real formats, written after their specifications."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlbench.contracts import SPLITS, Dataset, Split, SplitName

MAGIC = struct.pack("<I", 0xCED7230A)


def picture(seed: int, size: int = 24, form: str = "JPEG") -> bytes:
    """An encoded image; each seed gives another one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8).repeat(size // 4, 0)
    file = io.BytesIO()
    Image.fromarray(pixels.repeat(size // 4, 1)).save(
        file, form, **({"quality": 95} if form == "JPEG" else {})
    )
    return file.getvalue()


def shown(data: bytes) -> bytes:
    """The pixels of a file."""
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def record(content: bytes) -> bytes:
    """A RecordIO record: in parts where its content holds the magic number at a multiple of 4."""
    parts, start = [], 0
    for at in range(0, len(content) // 4 * 4, 4):
        if content[at : at + 4] == MAGIC:
            parts.append(content[start:at])
            start = at + 4
    parts.append(content[start:])
    flags = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
        for flag, part in zip(flags, parts, strict=True)
    )


def labelled(labels: Sequence[float], image: bytes, number: int = 0) -> bytes:
    """An image with its header, which has one label, or is followed by several."""
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], number, 0) + image
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, number, 0, *labels) + image


def write_records(file: Path, contents: Mapping[int, bytes]) -> Path:
    """A .rec file of contents by key, and its .idx."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data, index = b"", ""
    for key, content in contents.items():
        index += f"{key}\t{len(data)}\n"
        data += record(content)
    file.write_bytes(data)
    file.with_suffix(".idx").write_text(index)
    return file


def face_records(file: Path, sizes: Sequence[int], *, flag: int = 2) -> list[tuple[int, bytes]]:
    """Write identities of `sizes` images in InsightFace's layout: record 0, images, identities.

    Returns labels and encoded images."""
    images = [
        (label, picture(100 * label + view)) for label, size in enumerate(sizes) for view in range(size)
    ]
    first = len(images) + 1
    contents = {0: labelled([first, first + len(sizes)], b"")}
    for key, (label, data) in enumerate(images, 1):
        contents[key] = labelled([label, 0][:flag], data, key)
    start = 1
    for label, size in enumerate(sizes):
        contents[first + label] = labelled([start, start + size], b"")
        start += size
    write_records(file, contents)
    return images


def write_shard(file: Path, members: Sequence[tuple[str, bytes] | tarfile.TarInfo]) -> Path:
    """A tar archive of files, and of other members, which are given by their headers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return file


def check_dataset(data: Dataset) -> None:
    """Check the contract of data sets, image by image."""
    assert isinstance(data, Dataset)
    names: dict[str, list[str]] = {}
    for name in SPLITS:
        split = pickle.loads(pickle.dumps(data.split(name)))
        assert isinstance(split, Split)
        labels = [split.label(at) for at in range(len(split))]
        assert sorted(set(labels)) == list(range(split.num_classes))
        names[name] = [split.class_name(label) for label in range(split.num_classes)]
        assert len(set(names[name])) == split.num_classes
        for at in range(len(split)):
            image = split.image(at)
            assert image.mode == "RGB"
            assert image.tobytes() == data.split(name).image(at).tobytes()
        with pytest.raises(IndexError):
            split.label(len(split))
    if data.disjoint:
        assert set(names["train"]).isdisjoint(names["calibration"])
        assert set(names["test"]).isdisjoint(names["train"] + names["calibration"])


def images_by_class(data: Dataset, name: SplitName) -> dict[str, list[bytes]]:
    """Pixels of a split."""
    split = data.split(name)
    found: dict[str, list[bytes]] = {}
    for at in range(len(split)):
        found.setdefault(split.class_name(split.label(at)), []).append(split.image(at).tobytes())
    return found

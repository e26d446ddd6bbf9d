"""CIFAR-100, read in place from its binary version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from mlbench.plugin import (
    GALLERY,
    QUERY,
    DataCheck,
    DataError,
    DataProgress,
    DatasetContext,
    PartCount,
    SplitName,
    numpy_generator,
)
from mlbench_datasets.collections.listed import differences, read_lines
from mlbench_datasets.collections.published import Published, PublishedDataset
from mlbench_datasets.collections.source import Archive, Source
from mlbench_datasets.division_options import Share
from mlbench_datasets.duplicates import HashedImage, duplicate_notes
from mlbench_datasets.partition import MIN_CLASSES, hold_out
from mlbench_datasets.split_set import SplitSet

__all__ = ["Cifar100", "CifarSplit"]

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
# A byte for the coarse label and one for the fine label, then the planes of red, green and blue.
_RECORD = 2 + _PIXELS
_CLASSES = 100
_TRAINED = 50  # classes for training, where test has others
_INNER = "cifar-100-binary"
_NEEDED = ("train.bin", "test.bin", "fine_label_names.txt")


class Cifar100(PublishedDataset):
    """CIFAR-100: 60,000 images of 32 x 32 pixels in 100 classes.

    Raises DataError, with what to put where, when files are missing.
    """

    # Classes and images of train.bin and test.bin.
    published: ClassVar[Published] = {"train": (100, 50_000), "test": (100, 10_000)}

    path: str = "cifar100"
    calibration: Share = 0.1
    """Share of the training images (closed) or of the training classes (disjoint) in calibration, where
    thresholds are fitted."""
    seed: int = 0
    """Seed of the choice of these images or classes."""
    split: Literal["closed", "disjoint"] = "closed"
    """closed: the published split, where test has the classes of training; calibration is made of training
    images, the same share of each class. disjoint: train and calibration are the first 50 classes in the
    published alphabetical order, test is all images of the other 50."""

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="cifar100",
            home="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated; the authors ask to cite their report",
            size=168_513_733,
            folder=folder,
            data_root=root,
            instructions=(
                f"put the binary version, cifar-100-binary.tar.gz, or the folder {_INNER} that it holds, "
                f"into {folder} (the Python version holds pickles, which are not loaded)"
            ),
            layouts=(tuple(f"{_INNER}/{name}" for name in _NEEDED), _NEEDED),
            examine=cls.examine,
            archives=(
                Archive(
                    file="cifar-100-binary.tar.gz",
                    gives=_INNER,
                    address="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                    md5="03b5dce01913d631647c71ecec9e9cb8",
                ),
            ),
        )

    @classmethod
    def examine(cls, folder: Path, progress: DataProgress) -> DataCheck:
        base = _base(folder)
        _names(base)
        parts = cls._parts([_labels(base / "train.bin"), _labels(base / "test.bin")])
        return DataCheck(parts, differences(parts))

    def build(self, context: DatasetContext) -> SplitSet[CifarSplit]:
        source = self.files(context.root, self.path)
        if source.layout() is None:
            raise source.absent()
        base = _base(source.folder)
        names = _names(base)
        files = (base / "train.bin", base / "test.bin")
        version = hashlib.blake2b("\0".join(names).encode(), digest_size=8)
        labels = [_labels(file, version) for file in files]
        file_of = np.repeat(np.arange(2, dtype=np.uint8), [len(each) for each in labels])
        position = np.concatenate([np.arange(len(each), dtype=np.int32) for each in labels])
        label = np.concatenate(labels)
        if self.split == "closed":
            held = _held_images(source.folder, labels[0], self.calibration, self.seed)
            chosen = np.where(file_of == 1, 2, 0)
            chosen[held] = 1
        else:
            taken = hold_out(
                names[:_TRAINED], self.calibration, seed=self.seed, minimum=MIN_CLASSES, leave=MIN_CLASSES
            )
            part = np.array([2 if i >= _TRAINED else int(name in taken) for i, name in enumerate(names)])
            chosen = part[label]
        splits: dict[SplitName, CifarSplit] = {}
        version.update(chosen.astype(np.uint8).tobytes())
        order: tuple[SplitName, ...] = ("train", "calibration", "test")
        for number, name in enumerate(order):
            rows = np.flatnonzero(chosen == number)
            present, compact = np.unique(label[rows], return_inverse=True)
            if len(present) < MIN_CLASSES:
                raise DataError(f"{base}: classes in the {name} split: {len(present)}; at least 2 are needed")
            splits[name] = CifarSplit(
                files=tuple(map(str, files)),
                file_of=file_of[rows],
                position=position[rows],
                labels=compact.astype(np.int32),
                names=[names[i] for i in present],
            )
        notes = differences(self._parts(labels))
        if self.split == "closed":
            notes.insert(
                0, f"{len(splits['calibration']):,} published training images become the calibration split"
            )
        notes += _copies(splits)
        return SplitSet(version.hexdigest(), self.split == "disjoint", notes, splits)

    @classmethod
    def _parts(cls, labels: Sequence[np.ndarray]) -> list[PartCount]:
        return [
            PartCount(part, len(np.unique(found)), len(found), *cls.published[part])
            for part, found in zip(cls.published, labels, strict=True)
        ]


@dataclass(frozen=True)
class CifarSplit:
    """One split: the file of each image and its position there. Pixels are read when they are used.

    file_of: (N,) uint8 positions in `files`. position: (N,) int32, of the record. labels: (N,) int32.
    """

    files: tuple[str, ...]
    file_of: np.ndarray
    position: np.ndarray
    labels: np.ndarray
    names: list[str]

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def image(self, index: int) -> Image.Image:
        """Image `index`: RGB, 32 x 32. Raises DataError when the file has changed or is gone."""
        file = self.files[self.file_of[index]]
        offset = int(self.position[index]) * _RECORD + 2
        try:
            pixels = np.fromfile(file, np.uint8, _PIXELS, offset=offset)
        except OSError as error:
            raise DataError(f"{file}: {error.strerror or error}") from None
        if len(pixels) < _PIXELS:
            raise DataError(f"{file}: shorter than before; start again to read it anew")
        return Image.fromarray(pixels.reshape(3, _SIDE, _SIDE).transpose(1, 2, 0).copy())

    def class_name(self, label: int) -> str:
        return self.names[label]

    def role(self, index: int) -> int:
        return QUERY | GALLERY


def _base(folder: Path) -> Path:
    return folder / _INNER if (folder / _INNER).is_dir() else folder


def _names(base: Path) -> list[str]:
    file = base / "fine_label_names.txt"
    names = [line.strip() for line in read_lines(file) if line.strip()]
    if len(set(names)) != _CLASSES or len(names) != _CLASSES:
        raise DataError(f"{file}: expected {_CLASSES} different names of classes, found {len(set(names))}")
    return names


def _labels(file: Path, version: hashlib.blake2b | None = None) -> np.ndarray:
    """The fine labels of a file, (N,) int64. Adds its content to `version`. Raises DataError."""
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    if not len(content) or len(content) % _RECORD:
        raise DataError(
            f"{file}: {len(content):,} bytes are not a whole number of records of {_RECORD}; get it again"
        )
    if version is not None:
        version.update(content.data)
    labels = content.reshape(-1, _RECORD)[:, 1].astype(np.int64)
    if labels.max() >= _CLASSES:
        raise DataError(f"{file}: class {labels.max()}; expected 0 to {_CLASSES - 1}; get it again")
    return labels


def _copies(splits: Mapping[SplitName, CifarSplit]) -> list[str]:
    """Notes about images with the same pixels."""
    files = [Path(file) for file in splits["train"].files]
    digests = [
        [hashlib.blake2b(row[2:].tobytes(), digest_size=16).digest() for row in content.reshape(-1, _RECORD)]
        for content in (np.fromfile(file, np.uint8) for file in files)
    ]
    return duplicate_notes(
        HashedImage(
            name, split.names[label], digests[file][position], f"{files[file].name}: image {position}"
        )
        for name, split in splits.items()
        for label, file, position in zip(
            split.labels.tolist(), split.file_of.tolist(), split.position.tolist(), strict=True
        )
    )


def _held_images(folder: Path, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions of the images for calibration: a share of each class, at least 2 and at most all but 2."""
    held = []
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        if len(rows) < 4:
            raise DataError(f"{folder}: class {label} has {len(rows)} training images; at least 4 are needed")
        count = max(2, min(round(share * len(rows)), len(rows) - 2))
        held.append(numpy_generator(seed, "cifar100", "calibration", label).permutation(rows)[:count])
    return np.concatenate(held)

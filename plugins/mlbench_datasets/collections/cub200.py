"""CUB-200-2011: photographs of 200 species of birds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mlbench.plugin import DataError
from mlbench_datasets.collections.listed import Item, ListedDataset, read_lines
from mlbench_datasets.collections.published import Published
from mlbench_datasets.collections.source import Archive, Source

__all__ = ["Cub200"]

_TRAINED = 100  # the first classes are for training
_INNER = "CUB_200_2011"
_NEEDED = ("classes.txt", "images.txt", "image_class_labels.txt", "images")


class Cub200(ListedDataset):
    """Caltech-UCSD Birds 200-2011: 11,788 photographs; classes 1 to 100 for training, 101 to 200 for test.

    Whole photographs, without the bounding boxes. The test split is the published one; the published training
    classes are divided into train and calibration.

    Raises DataError, with what to put where, when files are missing.
    """

    # The halves that papers on metric learning use.
    published: ClassVar[Published] = {"train": (100, 5864), "test": (100, 5924)}

    path: str = "cub200"

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="cub200",
            home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
            licence="non-commercial research and education; the pictures belong to their photographers",
            size=1_150_585_339,
            folder=folder,
            data_root=root,
            instructions=f"put CUB_200_2011.tgz, or the folder {_INNER} that it holds, into {folder}",
            layouts=(tuple(f"{_INNER}/{name}" for name in _NEEDED), _NEEDED),
            examine=cls.examine,
            archives=(
                Archive(
                    file="CUB_200_2011.tgz",
                    gives=_INNER,
                    address="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                    md5="97eceeb196236b17998738112f37df78",
                ),
            ),
        )

    @classmethod
    def read(cls, folder: Path) -> list[Item]:
        inner = f"{_INNER}/" if (folder / _INNER).is_dir() else ""
        base = folder / inner
        images, classes = (_table(base / name) for name in ("images.txt", "image_class_labels.txt"))
        names = _table(base / "classes.txt")
        items = []
        for image, path in images.items():
            number = classes.get(image)
            if number is None or number not in names:
                raise DataError(f"{base}: image {image} of images.txt has no class; get the list again")
            part = "train" if int(number) <= _TRAINED else "test"
            items.append((int(number), Item(f"{inner}images/{path}", names[number], part)))
        return [item for _, item in sorted(items)]


def _table(file: Path) -> dict[str, str]:
    """A file with a number and a value on each line."""
    table = {}
    for line, text in enumerate(read_lines(file), 1):
        number, _, value = text.strip().partition(" ")
        if not number:
            continue
        if not (number.isascii() and number.isdigit() and value):
            raise DataError(f"{file}:{line}: expected a number and a value, found {text[:40]!r}")
        table[number] = value.strip()
    return table

"""CUB-200-2011: photographs of 200 species of birds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mlbench.errors import DataError
from mlbench.names import find_path
from mlbench_datasets.collections.listed import Item, check_listed, load_listed, read_lines
from mlbench_datasets.collections.source import Archive, Source
from mlbench_datasets.image_folder import ImageFolder

__all__ = ["PUBLISHED", "cub200", "cub200_source"]

#: Classes and images of the halves that metric learning uses.
PUBLISHED = {"train": (100, 5864), "test": (100, 5924)}

_TRAINED = 100  # the first classes
_INNER = "CUB_200_2011"
_NEEDED = ("classes.txt", "images.txt", "image_class_labels.txt", "images")


def cub200(
    data_root: Path,
    image_size: int,
    *,
    path: str = "cub200",
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    seed: int = 0,
) -> ImageFolder:
    """Caltech-UCSD Birds 200-2011: 11,788 photographs; classes 1 to 100 train, 101 to 200 test.

    Whole photographs, without the bounding boxes. The test split is the published one; the published
    training classes are divided into train and calibration.

    Options
    -------
    path: the folder of the files.
    calibration: share of the training classes that is held out to fit thresholds on.
    seed: of the choice of these.

    Raises DataError, saying what to put where, when files are missing.
    """
    source = _source(data_root, path)
    return load_listed(source, _read, PUBLISHED, image_size, calibration=calibration, seed=seed)


def cub200_source(data_root: Path) -> Source:
    """Where the files come from."""
    return _source(data_root, "cub200")


def _source(data_root: Path, path: str) -> Source:
    folder = find_path(data_root / Path(path).expanduser())
    return Source(
        name="cub200",
        home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="non-commercial research and education; the pictures belong to their photographers",
        size=1_150_585_339,
        folder=folder,
        data_root=data_root,
        instructions=f"put CUB_200_2011.tgz, or the folder {_INNER} that it holds, into {folder}",
        layouts=(tuple(f"{_INNER}/{name}" for name in _NEEDED), _NEEDED),
        examine=partial(check_listed, _read, PUBLISHED),
        archives=(
            Archive(
                file="CUB_200_2011.tgz",
                gives=_INNER,
                address="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                md5="97eceeb196236b17998738112f37df78",
            ),
        ),
    )


def _read(folder: Path) -> list[Item]:
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
    """Lines of a number and something."""
    table = {}
    for line, text in enumerate(read_lines(file), 1):
        number, _, value = text.strip().partition(" ")
        if not number:
            continue
        if not (number.isascii() and number.isdigit() and value):
            raise DataError(f"{file}:{line}: expected a number and a value, found {text[:40]!r}")
        table[number] = value.strip()
    return table

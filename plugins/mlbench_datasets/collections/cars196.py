"""Cars-196: photographs of 196 models of cars."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from mlbench.plugin import DataError, first_line
from mlbench_datasets.collections.listed import Item, ListedDataset, read_lines
from mlbench_datasets.collections.published import Published
from mlbench_datasets.collections.source import Archive, Layout, Source

__all__ = ["Cars196"]

_TRAINED = 98  # the first classes are for training
_CLASSES = 196

# The three forms in which the data set is available: all images in one folder with cars_annos.mat; the two
# folders and the development kit of the classification benchmark; and a copy with a folder for each class.
_WHOLE: Layout = ("cars_annos.mat", "car_ims")
_DEVKIT: Layout = (
    "devkit/cars_meta.mat",
    "devkit/cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
    "cars_train",
    "cars_test",
)
_FOLDERS: Layout = ("names.csv", "anno_train.csv", "anno_test.csv", "car_data/car_data")


class Cars196(ListedDataset):
    """Stanford Cars: 16,185 photographs of 196 models; classes 1 to 98 for training, 99 to 196 for test.

    Whole photographs, without the bounding boxes; all images of a class, whichever half of the classification
    benchmark they are in. The test split is the published one; the published training classes are divided
    into train and calibration.

    Raises DataError, with what to put where, when files are missing.
    """

    # The halves that papers on metric learning use.
    published: ClassVar[Published] = {"train": (98, 8054), "test": (98, 8131)}

    path: str = "cars196"

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="cars196",
            home="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
            licence="non-commercial research; the pictures belong to their photographers",
            size=1_960_000_000,
            folder=folder,
            data_root=root,
            instructions=(
                "the original page is gone; put one of these into "
                f"{folder}: cars_annos.mat with car_ims.tgz unpacked, or devkit/, cars_train/, cars_test/ "
                "and cars_test_annos_withlabels.mat, or the copy "
                "https://www.kaggle.com/datasets/jutrera/stanford-car-dataset-by-classes-folder unpacked"
            ),
            layouts=(_WHOLE, _DEVKIT, _FOLDERS),
            examine=cls.examine,
            archives=(
                Archive("car_ims.tgz", gives="car_ims", md5="d5c8f0aa497503f355e17dc7886c3f14"),
                Archive("cars_train.tgz", gives="cars_train", md5="065e5b463ae28d29e77c1b4b166cfe61"),
                Archive("cars_test.tgz", gives="cars_test", md5="4ce7ebf6a94d07f1952d94dd34c4d501"),
                Archive("car_devkit.tgz", gives="devkit", md5="c3b158d763b6e2245038c8ad08e45376"),
                Archive(
                    file="stanford-car-dataset-by-classes-folder.zip",
                    gives="car_data",
                    # A private copy without a published digest; pytorch-metric-learning uses it as well.
                    address="https://www.kaggle.com/api/v1/datasets/download/"
                    "jutrera/stanford-car-dataset-by-classes-folder",
                ),
            ),
        )

    @classmethod
    def read(cls, folder: Path) -> list[Item]:
        readers: dict[Layout, Callable[[Path], list[tuple[int, str, str]]]] = {
            _WHOLE: _read_whole,
            _DEVKIT: _read_devkit,
            _FOLDERS: _read_folders,
        }
        read = next(
            read for layout, read in readers.items() if all((folder / path).exists() for path in layout)
        )
        rows = read(folder)
        outside = [number for number, _, _ in rows if not 1 <= number <= _CLASSES]
        if outside:
            raise DataError(f"{folder}: class {outside[0]} in the annotations; expected 1 to {_CLASSES}")
        return [
            Item(path, f"{number:03} {name}", "train" if number <= _TRAINED else "test")
            for number, name, path in sorted(rows)
        ]


def _read_whole(folder: Path) -> list[tuple[int, str, str]]:
    file = folder / "cars_annos.mat"
    content = _load(file, "annotations", "class_names")
    names = [str(name) for name in content["class_names"]]
    return [
        (number, _name(names, number), path)
        for path, number in _annotations(file, content, "relative_im_path", "class")
    ]


def _read_devkit(folder: Path) -> list[tuple[int, str, str]]:
    meta = folder / "devkit/cars_meta.mat"
    names = [str(name) for name in _load(meta, "class_names")["class_names"]]
    rows = []
    for place, images in (
        ("devkit/cars_train_annos.mat", "cars_train"),
        ("cars_test_annos_withlabels.mat", "cars_test"),
    ):
        file = folder / place
        content = _load(file, "annotations")
        for name, number in _annotations(file, content, "fname", "class"):
            rows.append((number, _name(names, number), f"{images}/{name}"))
    return rows


def _read_folders(folder: Path) -> list[tuple[int, str, str]]:
    names = [name.strip() for name in read_lines(folder / "names.csv")]
    rows = []
    for half in ("train", "test"):
        file = folder / f"anno_{half}.csv"
        for line, fields in enumerate(csv.reader(read_lines(file)), 1):
            if len(fields) != 6 or not (fields[5].isascii() and fields[5].isdigit()):
                raise DataError(
                    f"{file}:{line}: expected a file, a box of 4 and a class, found {','.join(fields)!r}"
                )
            number = int(fields[5])
            name = _name(names, number)
            # A folder's name cannot hold the slash of "Ram C/V".
            rows.append((number, name, f"car_data/car_data/{half}/{name.replace('/', '-')}/{fields[0]}"))
    return rows


def _name(names: list[str], number: int) -> str:
    return names[number - 1] if 1 <= number <= len(names) else "?"


def _load(file: Path, *wanted: str) -> dict[str, Any]:
    """Variables of a MATLAB file: numbers, text and structs; nothing in it is executed."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(file, squeeze_me=True, variable_names=wanted)
    except Exception as error:  # scipy raises many kinds of errors on damaged files, also OSError
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{file}: {error.strerror}") from None
        raise DataError(f"{file}: not a MATLAB file ({first_line(error)})") from None
    for name in wanted:
        if name not in content or not content[name].ndim:
            raise DataError(f"{file}: no list {name!r}; get the annotations again")
    return content


def _annotations(file: Path, content: dict[str, Any], path: str, number: str) -> list[tuple[str, int]]:
    table = content["annotations"]
    fields = table.dtype.names or ()
    if path not in fields or number not in fields:
        hint = "" if number in fields else "; the test annotations without labels cannot be used"
        raise DataError(f"{file}: annotations need the fields {path!r} and {number!r}{hint}")
    try:
        return [(str(row[path]), int(row[number])) for row in table]
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: annotations cannot be read ({first_line(error)})") from None

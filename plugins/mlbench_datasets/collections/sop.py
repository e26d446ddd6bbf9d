"""Stanford Online Products: pictures of 22,634 products."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mlbench.plugin import DataError
from mlbench_datasets.collections.listed import Item, ListedDataset, read_lines
from mlbench_datasets.collections.published import Published
from mlbench_datasets.collections.source import Archive, Source

__all__ = ["Sop"]

_INNER = "Stanford_Online_Products"
_LISTS = {"Ebay_train.txt": "train", "Ebay_test.txt": "test"}
_HEADING = ["image_id", "class_id", "super_class_id", "path"]


class Sop(ListedDataset):
    """Stanford Online Products: 120,053 pictures of 22,634 products in 12 categories, one class per product.

    The test split is the published Ebay_test; the classes of Ebay_train are divided into train and
    calibration.

    Raises DataError, with what to put where, when files are missing.
    """

    # Classes and images of Ebay_train.txt and Ebay_test.txt.
    published: ClassVar[Published] = {"train": (11318, 59551), "test": (11316, 60502)}

    path: str = "sop"

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="sop",
            home="https://github.com/rksltnl/Deep-Metric-Learning-CVPR16",
            licence="none stated; published for research, the pictures are from listings on eBay",
            size=3_080_000_000,
            folder=folder,
            data_root=root,
            instructions=f"put {_INNER}.zip, or the folder {_INNER} that it holds, into {folder}",
            layouts=(tuple(f"{_INNER}/{name}" for name in _LISTS), tuple(_LISTS)),
            examine=cls.examine,
            archives=(
                Archive(
                    file=f"{_INNER}.zip",
                    gives=_INNER,
                    # The link on the home page; "confirm" skips the warning of a large file.
                    address="https://drive.usercontent.google.com/download"
                    "?id=1TclrpQOF_ullUP99wk_gjGN8pKvtErG8&export=download&authuser=0&confirm=t",
                    md5="7f73d41a2f44250d4779881525aea32e",
                ),
            ),
        )

    @classmethod
    def read(cls, folder: Path) -> list[Item]:
        inner = f"{_INNER}/" if (folder / _INNER).is_dir() else ""
        items = []
        for name, part in _LISTS.items():
            file = folder / inner / name
            heading, *lines = read_lines(file) or [""]
            if heading.split() != _HEADING:
                raise DataError(
                    f"{file}:1: expected the heading {' '.join(_HEADING)!r}, found {heading[:60]!r}"
                )
            for line, text in enumerate(lines, 2):
                fields = text.split()
                if len(fields) != len(_HEADING):
                    raise DataError(f"{file}:{line}: expected {len(_HEADING)} values, found {text[:60]!r}")
                _, number, _, path = fields
                category = path.partition("_final/")[0]
                items.append(Item(f"{inner}{path}", f"{category}/{number}", part))
        return items

"""In-Shop Clothes Retrieval of DeepFashion: shop pictures of 7,982 pieces of clothing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mlbench.plugin import DataError
from mlbench_datasets.collections.listed import Item, ListedDataset, read_lines
from mlbench_datasets.collections.published import Published
from mlbench_datasets.collections.source import Archive, Source

__all__ = ["InShop"]

_LIST = "list_eval_partition.txt"
_HEADING = ["image_name", "item_id", "evaluation_status"]
# The folders of the home page, and everything in one folder.
_LISTS = (f"Eval/{_LIST}", _LIST)
_IMAGES = ("Img/img", "img")


class InShop(ListedDataset):
    """DeepFashion In-Shop: 52,712 pictures of 7,982 items; the queries of test search a gallery of other
    pictures.

    The test split is the published one: 14,218 pictures are only queries, 12,612 only in the gallery. The
    published training classes are divided into train and calibration, where every picture is both.

    Raises DataError, with what to put where, when files are missing.
    """

    # Classes and images of the parts of list_eval_partition.txt.
    published: ClassVar[Published] = {
        "train": (3997, 25882),
        "query": (3985, 14218),
        "gallery": (3985, 12612),
    }

    path: str = "inshop"

    @classmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        return Source(
            name="inshop",
            home="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
            licence="non-commercial research only",
            size=1_100_000_000,
            folder=folder,
            data_root=root,
            instructions=(
                f"get Img/img.zip and Eval/{_LIST} from the Google Drive that the home page links to, put "
                f"both into {folder} and unpack img.zip there"
            ),
            layouts=tuple((each, images) for each in _LISTS for images in _IMAGES),
            examine=cls.examine,
            archives=(Archive(file="img.zip", gives="img"),),
        )

    @classmethod
    def read(cls, folder: Path) -> list[Item]:
        file = next(folder / each for each in _LISTS if (folder / each).exists())
        prefix = "Img/" if (folder / "Img/img").exists() else ""
        lines = read_lines(file)
        if len(lines) < 2 or lines[1].split() != _HEADING:
            raise DataError(f"{file}:2: expected the heading {' '.join(_HEADING)!r}; get the list again")
        items = []
        for line, text in enumerate(lines[2:], 3):
            fields = text.split()
            if len(fields) != len(_HEADING) or fields[2] not in cls.published:
                raise DataError(f"{file}:{line}: expected an image, an item and a part, found {text[:60]!r}")
            path, label, part = fields
            items.append(Item(f"{prefix}{path}", label, part))
        if lines[0].strip() != str(len(items)):
            raise DataError(
                f"{file}:1: the file states {lines[0][:20]!r} images and lists {len(items)}; get it again"
            )
        return items

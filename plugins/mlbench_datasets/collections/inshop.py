"""In-Shop Clothes Retrieval of DeepFashion: shop pictures of 7,982 pieces of clothing."""

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

__all__ = ["PUBLISHED", "inshop", "inshop_source"]

#: Classes and images of the parts of list_eval_partition.txt.
PUBLISHED = {"train": (3997, 25882), "query": (3985, 14218), "gallery": (3985, 12612)}

_LIST = "list_eval_partition.txt"
_HEADING = ["image_name", "item_id", "evaluation_status"]
# As on the home page, and with everything in one folder.
_LISTS = (f"Eval/{_LIST}", _LIST)
_IMAGES = ("Img/img", "img")


def inshop(
    data_root: Path,
    image_size: int,
    *,
    path: str = "inshop",
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    seed: int = 0,
) -> ImageFolder:
    """DeepFashion In-Shop: 52,712 pictures of 7,982 items; test queries search a gallery of other pictures.

    The test split is the published one: 14,218 pictures only ask, 12,612 can only be found. The published
    training classes are divided into train and calibration, where all pictures do both.

    Options
    -------
    path: the folder of the files.
    calibration: share of the training classes that is held out to fit thresholds on.
    seed: of the choice of these.

    Raises DataError, saying what to put where, when files are missing.
    """
    source = _source(data_root, path)
    return load_listed(source, _read, PUBLISHED, image_size, calibration=calibration, seed=seed)


def inshop_source(data_root: Path) -> Source:
    """Where the files come from."""
    return _source(data_root, "inshop")


def _source(data_root: Path, path: str) -> Source:
    folder = find_path(data_root / Path(path).expanduser())
    return Source(
        name="inshop",
        home="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        licence="non-commercial research only",
        size=1_100_000_000,
        folder=folder,
        data_root=data_root,
        instructions=(
            f"get Img/img.zip and Eval/{_LIST} from the Google Drive that the home page links to, put both "
            f"into {folder} and unpack img.zip there"
        ),
        layouts=tuple((each, images) for each in _LISTS for images in _IMAGES),
        examine=partial(check_listed, _read, PUBLISHED),
        archives=(Archive(file="img.zip", gives="img"),),
    )


def _read(folder: Path) -> list[Item]:
    file = next(folder / each for each in _LISTS if (folder / each).exists())
    prefix = "Img/" if (folder / "Img/img").exists() else ""
    lines = read_lines(file)
    if len(lines) < 2 or lines[1].split() != _HEADING:
        raise DataError(f"{file}:2: expected the heading {' '.join(_HEADING)!r}; get the list again")
    items = []
    for line, text in enumerate(lines[2:], 3):
        fields = text.split()
        if len(fields) != len(_HEADING) or fields[2] not in PUBLISHED:
            raise DataError(f"{file}:{line}: expected an image, an item and a part, found {text[:60]!r}")
        path, label, part = fields
        items.append(Item(f"{prefix}{path}", label, part))
    if lines[0].strip() != str(len(items)):
        raise DataError(
            f"{file}:1: {lines[0][:20]!r} images are announced, {len(items)} are listed; get it again"
        )
    return items

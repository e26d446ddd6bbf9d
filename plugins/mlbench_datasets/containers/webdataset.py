"""The `webdataset` data set: tar shards in the form of the WebDataset library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.errors import DataError
from mlbench.names import find_path
from mlbench_datasets.partition import Divided, check_fractions

if TYPE_CHECKING:
    from mlbench_datasets.containers.split import ContainerSet

__all__ = ["webdataset"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
#: More shards than anyone has; a slip in a range must not fill the memory.
_MOST_SHARDS = 1_000_000


def webdataset(
    data_root: Path,
    image_size: int,
    *,
    path: str,
    test_path: str | None = None,
    label_key: str = "",
    divide: Divided | None = None,
    calibration: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    seed: int = 0,
) -> ContainerSet:
    """Images in tar shards, read by position and never unpacked: 0001.jpg (or another suffix of images) with
    its label, a whole number, in 0001.cls, or in 0001.json under a key.

    The members of each shard are listed once; the list is kept in the cache folder until the shard's size or
    time of change differs, and these stand for its pixels in the version of the data: copy shards with their
    times (cp -p, rsync -t). Compressed shards are refused. Images are decoded as they are used; one that
    cannot be read stops the case with its name.

    Options
    -------
    path: shards: a pattern such as "train-{000..009}.tar", a folder of .tar files, or one file.
    test_path: shards of the test split; without it, classes of `path` are set apart for it.
    label_key: key of the label in each sample's .json, a name or a whole number; empty for .cls files.
    divide: what is divided: classes, so that test has new ones, or the images of each class (closed set, see
        `evaluation.gallery`). Default: classes; but images where test_path has classes that are trained on.
    calibration: share of the classes, or of the images of each, that is kept from training to fit thresholds
        on.
    test: share of them that is kept from training to be scored on, where there is no test_path.
    seed: of the division into splits.

    Raises DataError for a missing, damaged or compressed shard, an image without a label, too few classes.
    """
    from mlbench_datasets.containers.division import divided, tested_whole, with_test
    from mlbench_datasets.containers.kept import stamp
    from mlbench_datasets.containers.split import ContainerSet, version_of
    from mlbench_datasets.containers.tar_index import index_shards

    check_fractions(calibration, test if test_path is None else 0)
    notes: list[str] = []
    files = _shards(data_root, path)
    pool = index_shards(files, label_key, notes)
    disjoint = divide != "images"
    if test_path is None:
        splits = divided(
            path, pool, image_size, notes, divide=divide, calibration=calibration, test=test, seed=seed
        )
    else:
        test_files = _shards(data_root, test_path)
        tested = index_shards(test_files, label_key, notes)
        files = [*files, *test_files]
        disjoint = set(tested.names).isdisjoint(pool.names)
        whole = tested_whole(test_path, tested, image_size, pool.names)
        splits = with_test(
            path, pool, whole, image_size, notes, divide=divide, calibration=calibration, seed=seed
        )
    return ContainerSet(version_of(splits, stamp(files)), disjoint, tuple(notes), splits)


def _shards(data_root: Path, pattern: str) -> list[Path]:
    """The files that a pattern names, in order."""
    place = find_path(data_root / Path(pattern).expanduser())
    if place.is_dir():
        files = sorted(each for each in place.glob("*.tar") if not each.name.startswith("."))
        if not files:
            there = sorted(each.name for each in place.iterdir())[:3]
            raise DataError(f"{place}: no .tar files in it ({', '.join(there) or 'it is empty'})")
        return files
    files = [Path(each) for each in _expanded(str(place))]
    missing = [each for each in files if not each.is_file()]
    if missing:
        count = f" ({len(missing)} of {len(files)} shards are missing)" if len(files) > 1 else ""
        raise DataError(
            f"{missing[0]}: no such shard{count}; expected a file, a folder, or a pattern such as "
            "train-{000..009}.tar"
        )
    return files


def _expanded(pattern: str) -> Iterator[str]:
    """ "a-{08..11}.tar" as "a-08.tar", "a-09.tar", ..., as shells do it."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = found.groups()
    if not 0 <= int(last) - int(first) < _MOST_SHARDS:
        raise DataError(f"{pattern}: the range {found[0]} is empty or too long; write {{FIRST..LAST}}")
    for number in range(int(first), int(last) + 1):
        # Shells pad to the wider of the two when either is padded.
        padded = any(len(each) > 1 and each[0] == "0" for each in (first, last))
        width = max(len(first), len(last)) if padded else 0
        yield from _expanded(f"{pattern[: found.start()]}{number:0{width}d}{pattern[found.end() :]}")

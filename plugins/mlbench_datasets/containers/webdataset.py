"""The `webdataset` data set: tar shards in the form of the WebDataset library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench.plugin import DataError, find_path
from mlbench_datasets.division_options import DivideOptions, Share

if TYPE_CHECKING:
    from mlbench.plugin import DatasetContext
    from mlbench_datasets.containers.split import ContainerSplit
    from mlbench_datasets.split_set import SplitSet

__all__ = ["WebDataset"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
#: Limit of a range, so that a typing error does not fill the memory.
_MOST_SHARDS = 1_000_000


class WebDataset(DivideOptions):
    """Images in tar shards, read by position and never unpacked: 0001.jpg (or another image suffix) with its
    label, an integer, in 0001.cls, or in 0001.json under a key.

    The members of each shard are listed once, and the list is cached until the shard's size or modification
    time changes; these also stand for its pixels in the version of the data, so copy shards with their times
    (cp -p, rsync -t). Compressed shards are refused. Images are decoded when they are used; an image that
    cannot be read stops the case, with its name.

    Raises DataError for a missing, damaged or compressed shard, an image without a label, too few classes.
    """

    path: str
    """Shards: a pattern such as "train-{000..009}.tar", a folder of .tar files, or one file."""
    test: Share = 0.3
    """Share of the classes, or of the images of each class, in test; not used with test_path."""
    test_path: str | None = None
    """Shards of the test split; null to divide it off the shards at `path`."""
    label_key: str = ""
    """Key of the label, a name or an integer, in each sample's .json; empty for .cls files."""

    @property
    def uses_test_share(self) -> bool:
        return self.test_path is None

    def build(self, context: DatasetContext) -> SplitSet[ContainerSplit]:
        from mlbench_datasets.containers.division import Tested, divided_set
        from mlbench_datasets.containers.file_cache import stamp
        from mlbench_datasets.containers.tar_index import index_shards

        notes: list[str] = []
        files = _shards(context.root, self.path)
        pool = index_shards(files, self.label_key, notes)
        tested = None
        if self.test_path is not None:
            test_files = _shards(context.root, self.test_path)
            tested = Tested(self.test_path, index_shards(test_files, self.label_key, notes))
            files = [*files, *test_files]
        marks = [stamp(files)]
        return divided_set(self.path, pool, tested, self, context.image_size, notes, marks, files)


def _shards(root: Path, pattern: str) -> list[Path]:
    """The files of a pattern, in order."""
    place = find_path(root / Path(pattern).expanduser())
    if place.is_dir():
        files = sorted(each for each in place.glob("*.tar") if not each.name.startswith("."))
        if not files:
            there = sorted(each.name for each in place.iterdir())[:3]
            raise DataError(f"{place}: no .tar files ({', '.join(there) or 'it is empty'})")
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
    """Expand ranges as shells do: "a-{08..11}.tar" to "a-08.tar", "a-09.tar", ..."""
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

"""Options of the published data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mlbench.plugin import DataCheck, DataProgress, DatasetOptions, find_path
from mlbench_datasets.collections.source import Source
from mlbench_datasets.division_options import Share

__all__ = ["Published", "PublishedDataset"]

#: Published classes and images of each part.
Published = Mapping[str, tuple[int, int]]


class PublishedDataset(DatasetOptions):
    """Options of a published data set. Calibration is a share of what was published for training."""

    published: ClassVar[Published]

    path: str
    """Folder of the files."""
    calibration: Share = 0.2
    """Share of the training classes in calibration, where thresholds are fitted."""
    seed: int = 0
    """Seed of the choice of these classes."""

    @classmethod
    def source(cls, root: Path) -> Source:
        return cls.files(root, cls.model_fields["path"].default)

    @classmethod
    def files(cls, root: Path, path: str) -> Source:
        """The files in the folder `path`, which is relative to `root` or absolute."""
        return cls.describe(root, find_path(root / Path(path).expanduser()))

    @classmethod
    @abstractmethod
    def describe(cls, root: Path, folder: Path) -> Source:
        """The files in `folder`."""

    @classmethod
    @abstractmethod
    def examine(cls, folder: Path, progress: DataProgress) -> DataCheck:
        """Read every file in `folder`, and count classes and images."""

"""The images that a record is about, read again, for reports on single images."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.contracts import Dataset, LocatedSplit, Split
from mlbench.environment import data_root
from mlbench.errors import DataError, SuiteError
from mlbench.planning.document import load_document
from mlbench.planning.gallery import gallery_split
from mlbench.planning.heading import Heading
from mlbench.planning.limit import limit_of
from mlbench.planning.parts import always, component_part, validated
from mlbench.planning.plan import built_dataset
from mlbench.planning.plugin_code import named
from mlbench.planning.settings import Changes, Settings
from mlbench.planning.spec import EvaluationSettings, ImageSettings, Part
from mlbench.planning.suite_plugins import suite_registry
from mlbench.plugin_files import FILE_PACKAGE
from mlbench.records.record import Record
from mlbench.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

__all__ = ["RecordedImages", "SuiteImages", "check_version"]


@dataclass(frozen=True)
class RecordedImages:
    """The images of the scored split, then those of another split that its queries search, if they do: the
    numbering of `mlbench.evaluation.details.Details`. part: the data set, for messages."""

    scored: Split
    searched: Split | None
    part: Part

    def __len__(self) -> int:
        return len(self.scored) + (0 if self.searched is None else len(self.searched))

    def image(self, index: int) -> Image.Image:
        """The image: RGB, any size. Raises DataError where it can no longer be read, PluginError for a
        mistake of the data set's plugin."""
        split, place = self._place(index)
        with named([self.part]):
            return split.image(place)

    def where(self, index: int) -> str:
        """Its place for a reader, such as its file (see `LocatedSplit`); "" where the data set has none."""
        split, place = self._place(index)
        with named([self.part]):
            return split.where(place) if isinstance(split, LocatedSplit) else ""

    def _place(self, index: int) -> tuple[Split, int]:
        inside = index - len(self.scored)
        if inside < 0 or self.searched is None:
            return self.scored, index
        return self.searched, inside


class SuiteImages:
    """The images of the records of a suite. Data sets that records share are built once."""

    def __init__(self, heading: Heading, registry: Registry) -> None:
        self._path = heading.path or Path(f"{heading.name}.yaml")  # where the suite file would be
        self._by_name = heading.path is None
        self._registry = registry if self._by_name else suite_registry(load_document(self._path), registry)
        self._known: dict[str, tuple[Dataset, array[int]]] = {}

    def of(self, record: Record) -> RecordedImages:
        """The images of a finished record.

        Raises DataError for a data set with another version than in the record, or that cannot be read;
        SuiteError where the record's data set is no longer there or takes other options.
        """
        version = str(record.data.get("version"))
        where = f"record {record.key}"
        with _advised(record, self._by_name):
            settings = Settings().updated(Changes.read(_of_images(record.settings), always(where)))
            section = settings.section("dataset") or {}
            part = component_part("dataset", section, settings, self._registry, frozenset())
            image = validated(ImageSettings, "image", settings)
            evaluation = validated(EvaluationSettings, "evaluation", settings)
        root, limit = data_root(self._path), limit_of(version)
        dataset, _ = built_dataset(part, image.size, root, limit, self._known)
        check_version(record, dataset)
        searched = gallery_split(dataset, evaluation.split, evaluation.gallery)
        other = None if searched == evaluation.split else dataset.split(searched)
        return RecordedImages(dataset.split(evaluation.split), other, part)


def check_version(record: Record, dataset: Dataset) -> None:
    """Raise DataError for a data set with another version than in the record."""
    then, now = record.data.get("version"), str(dataset.version)
    if then != now:
        raise DataError(
            f"the data set is not the one that case {record.case!r} was scored on (version {now}, then "
            f"{then}); run the case again"
        )


def _of_images(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the images of a record follow from."""
    return {name: settings[name] for name in ("dataset", "image", "evaluation") if name in settings}


@contextmanager
def _advised(record: Record, by_name: bool) -> Iterator[None]:
    """Add to a SuiteError where a component of a Python file may be found."""
    try:
        yield
    except SuiteError as error:
        package = record.components.get("dataset", {}).get("package")
        if not by_name or package != FILE_PACKAGE:
            raise
        raise SuiteError(
            f"{error}; the data set is a component of a Python file: give the suite's file, or --plugin FILE"
        ) from None

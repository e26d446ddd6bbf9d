"""Findings about the images of a data set, and the file that keeps those of a suite: DATA_FILE in its results
folder, where no record is looked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError

__all__ = [
    "DATA_FILE",
    "LOOSER",
    "NEAR",
    "PIXELS",
    "DataFindings",
    "Finding",
    "ImageGroup",
    "ImageName",
    "Level",
    "PartFacts",
    "findings_json",
    "kept_leaks",
    "read_findings",
    "write_findings",
]

#: Place of the file below the results folder of a suite.
DATA_FILE = "data/check.json"

#: Two images of one class are nearly the same from this cosine of their features on: the same scene, taken
#: twice in a row. docs/data.md has what these numbers find in real photographs.
NEAR = 0.92

#: Two images of any classes are nearly the same from this correlation of their pixels (32x32, grey) on, and a
#: cosine of `LOOSER` less: the same photograph, saved again or resized.
PIXELS = 0.97
LOOSER = 0.12

_SCHEMA = 1

_KEPT = 8  # data sets and versions in the file

#: error: an evaluation on these images is wrong, or a file cannot be read. warning: likely a mistake.
#: note: what is worth knowing.
Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, order=True)
class ImageName:
    """An image. split: "" for images that are not divided. index: in the split. label: name of its class, ""
    for none. file: its file, or a text that names it."""

    split: str
    index: int
    label: str
    file: str


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images that belong together; the first two show best why. similarity: of the first two, cosine of their
    features; None for copies."""

    images: tuple[ImageName, ...]
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of finding. text: a sentence with the counts, without the examples. count: of what the text
    counts first. groups: images, the most important first. names: classes, files or folders, sorted."""

    name: str
    level: Level
    text: str
    count: int
    groups: tuple[ImageGroup, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartFacts:
    """Facts about one split, or about images that are not divided (split ""). Of classes: images in the
    smallest, median and largest one; gini: 0 where all have as many images; top_share: of the images in the
    largest tenth of the classes. Of sizes: pixels of the shorter side; of aspects: longer over shorter side.
    """

    split: str
    images: int
    classes: int
    class_sizes: tuple[int, int, int]
    gini: float
    top_share: float
    short_sides: tuple[int, int, int]
    aspects: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class DataFindings:
    """Findings about one data set.

    source: what was checked. version: of the data set, "" for a folder or manifest. dataset: name and options
    of the data set in the suite. image_size: of the suite, None without one. full_size: whether sizes are
    those in the files and not those that the data set gives. near: how near duplicates were searched (model,
    image_size, threshold, images, and pairs where only the most similar were kept); None where they were not.
    notes: of the data set.
    """

    source: str
    version: str
    dataset: Mapping[str, Any]
    image_size: int | None
    full_size: bool
    parts: tuple[PartFacts, ...]
    findings: tuple[Finding, ...]
    near: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    def of_level(self, level: Level) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == level]


def write_findings(folder: Path, found: Sequence[DataFindings]) -> Path:
    """Write the findings of a suite into its results folder, with the latest ones of other versions of its
    data. Raises StoreError."""
    path = folder / DATA_FILE
    try:
        earlier = read_findings(folder)
    except StoreError:  # damaged: written anew
        earlier = ()
    versions = {each.version for each in found}
    kept = [*found, *(each for each in earlier if each.version not in versions)][: max(_KEPT, len(found))]
    write_atomically(path, findings_json(kept).encode(errors="surrogateescape") + b"\n")
    return path


def findings_json(found: Sequence[DataFindings]) -> str:
    """The content of the file: the schema, and the findings of each data set."""
    plain = {"schema": _SCHEMA, "data_sets": [each.plain() for each in found]}
    return json.dumps(plain, indent=1, ensure_ascii=False, default=str)


def read_findings(folder: Path) -> tuple[DataFindings, ...]:
    """The findings kept in the results folder of a suite, one for each data set; () where there are none.

    Those of other data than a record's have another `version`. Raises StoreError for a damaged file and for
    one of a newer mlbench.
    """
    path = folder / DATA_FILE
    try:
        data = json.loads(path.read_bytes().decode(errors="surrogateescape"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); {_AGAIN}") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if isinstance(schema, int) and schema > _SCHEMA:
        raise StoreError(f"{path}: schema {schema}, but this mlbench reads up to {_SCHEMA}; update mlbench")
    try:
        return tuple(_findings(each) for each in data["data_sets"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(f"{path}: not the findings of mlbench data check; {_AGAIN}") from None


def kept_leaks(folder: Path, versions: Collection[str], suite: Path) -> list[str]:
    """Notes on images in two splits, from the findings kept in the results folder of a suite, where they are
    of the same data. versions: of the data sets now. A file that cannot be read is a note, too."""
    try:
        kept = read_findings(folder)
    except StoreError as error:
        return [str(error)]
    leaks = ("copies_across_splits", "near_across_splits")
    return [
        f"{finding.text} (mlbench data check {suite})"
        for each in kept
        if each.version in versions
        for finding in each.findings
        if finding.name in leaks
    ]


_AGAIN = "run mlbench data check SUITE again"


def _findings(data: dict[str, Any]) -> DataFindings:
    known = {field.name: data[field.name] for field in fields(DataFindings)}
    known |= {
        "parts": tuple(PartFacts(**{**each, **_tuples(each)}) for each in data["parts"]),
        "findings": tuple(
            Finding(**{**each, "groups": tuple(map(_group, each["groups"])), "names": tuple(each["names"])})
            for each in data["findings"]
        ),
        "notes": tuple(data["notes"]),
    }
    return DataFindings(**known)


def _tuples(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) for name, value in part.items() if isinstance(value, list)}


def _group(data: Mapping[str, Any]) -> ImageGroup:
    return ImageGroup(tuple(ImageName(**image) for image in data["images"]), data["similarity"])

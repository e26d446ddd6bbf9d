"""Details of an evaluation: what it found of single images, pairs and classes, and their file.

The file is an .npz of plain arrays, with all other values as JSON.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from mlbench.atomic_write import write_atomically
from mlbench.errors import StoreError
from mlbench.evaluation.detail_tables import (
    NEAR,
    Classes,
    Confusions,
    Histogram,
    ImageMap,
    Neighbours,
    Pairs,
    Sweep,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DETAILS",
    "NEAR",
    "Changed",
    "Classes",
    "Confusions",
    "Details",
    "Histogram",
    "ImageMap",
    "Neighbours",
    "Pairs",
    "Sweep",
    "changed_queries",
    "read_details",
    "write_details",
]


#: Name of the file of the details in the folder of a record (see `mlbench.records.store.Store.checkpoints`).
DETAILS = "details.npz"

#: Of the format: raise it when a field of `Details` changes.
_VERSION = 1

#: Name of the member with all values that are no arrays.
_VALUES = "values"

_PARTS: dict[str, type] = {
    "worst": Neighbours,
    "hardest_positives": Pairs,
    "hardest_negatives": Pairs,
    "near": Pairs,
    "confused": Confusions,
    "classes": Classes,
    "sweep": Sweep,
    "histogram": Histogram,
    "map": ImageMap,
}

#: Members that compression makes no smaller.
_STORED = ("map.vectors",)

#: What a damaged archive raises, besides ValueError and the like.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Details:
    """What an evaluation over all pairs found, in a size that hardly depends on the number of images.

    split: the scored one. images: in it. gallery: the split that the queries search, the same by default.
    queries: (Q,) int32, ascending. rank: (Q,) int32, of the nearest right image, 1 for the nearest of all, 0
    where there is none to find; of equal similarities the wrong image ranks first. worst: the wrong queries
    with the lowest difference of the similarities of the nearest right and the nearest wrong image.
    hardest_positives: of one class, the least similar first. hardest_negatives: of two classes, the most
    similar first. near: the most similar of all pairs from a similarity of `NEAR`. sampled: number of queries
    behind the spread of `histogram` below its `exact_from`; everything else is from all queries.
    """

    split: str
    images: int
    gallery: str
    queries: np.ndarray
    rank: np.ndarray
    worst: Neighbours
    hardest_positives: Pairs
    hardest_negatives: Pairs
    near: Pairs
    confused: Confusions
    classes: Classes
    sweep: Sweep
    histogram: Histogram
    map: ImageMap
    sampled: int

    @property
    def right(self) -> np.ndarray:
        """Whether each query counts as a hit in Recall@1, (Q,) bool; that is the mean over the queries with a
        rank."""
        return self.rank == 1

    def place(self, image: int) -> tuple[str, int]:
        """The split of an image and its index there."""
        return (self.split, image) if image < self.images else (self.gallery, image - self.images)

    def named(self, split: str, images: int, gallery: str, names: Sequence[str]) -> Details:
        """The details with names of the splits and of the classes. images: in the scored split."""
        classes = replace(self.classes, names=tuple(names))
        return replace(self, split=split, images=images, gallery=gallery, classes=classes)


class Changed(NamedTuple):
    """Queries, as images of the split, whose nearest image is of their class in one evaluation alone: (n,)
    int32 each, ascending. compared: number of queries that both evaluations count."""

    became_wrong: np.ndarray
    became_right: np.ndarray
    compared: int


def changed_queries(a: Details, b: Details) -> Changed:
    """The queries that changed sides from a to b, two evaluations of the same images. Queries that only one
    of them counts are left out."""
    both, in_a, in_b = np.intersect1d(
        a.queries[a.rank > 0], b.queries[b.rank > 0], assume_unique=True, return_indices=True
    )
    was, now = a.right[a.rank > 0][in_a], b.right[b.rank > 0][in_b]
    return Changed(both[was & ~now], both[~was & now], len(both))


def write_details(path: Path, details: Details) -> None:
    """Write the details to an .npz file. Raises StoreError where it cannot be written."""
    values: dict[str, Any] = {"version": _VERSION}
    arrays: dict[str, np.ndarray] = {}
    for name, value in _flat(details):
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            values[name] = value
    text = json.dumps(values, ensure_ascii=False).encode(errors="surrogateescape")
    arrays[_VALUES] = np.frombuffer(text, np.uint8)

    def save(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w") as file:
            for name, array in arrays.items():
                member = zipfile.ZipInfo(
                    f"{name}.npy"
                )  # without the time of writing: equal details, equal bytes
                member.compress_type = zipfile.ZIP_STORED if name in _STORED else zipfile.ZIP_DEFLATED
                with file.open(member, "w") as target:
                    np.lib.format.write_array(target, np.ascontiguousarray(array), allow_pickle=False)

    write_atomically(path, save)


def read_details(path: Path) -> Details | None:
    """The details in a file of `write_details`, None where there is no such file. Raises StoreError for a
    damaged file and one of a newer mlbench."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found: dict[str, Any] = {name: file[name] for name in file.files}
        values = json.loads(found.pop(_VALUES).tobytes().decode(errors="surrogateescape"))
        version = values.pop("version")
        if isinstance(version, int) and version > _VERSION:
            raise StoreError(
                f"{path}: details of version {version}, made by a newer mlbench (this one reads {_VERSION}); "
                "update mlbench, or run the case again"
            )
        return _built(found | values)
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, *_ZIP_ERRORS) as error:
        raise StoreError(
            f"{path}: cannot be read as details of an evaluation ({error}); run the case again with --force"
        ) from None


def _flat(details: Details) -> Iterator[tuple[str, Any]]:
    """Every value by its name: "rank", "worst.query"."""
    for each in fields(details):
        value = getattr(details, each.name)
        if each.name in _PARTS:
            yield from ((f"{each.name}.{inner.name}", getattr(value, inner.name)) for inner in fields(value))
        else:
            yield each.name, value


def _built(values: Mapping[str, Any]) -> Details:
    """The details from the values of `_flat`. Raises ValueError, KeyError or TypeError for invalid ones."""
    whole = dict(values)
    for part, kind in _PARTS.items():
        inside = {each.name: whole.pop(f"{part}.{each.name}") for each in fields(kind)}
        if part == "classes":
            inside["names"] = tuple(map(str, inside["names"]))
        whole[part] = kind(**inside)
    details = Details(**whole)
    _check(details)
    return details


def _check(details: Details) -> None:
    """Raise ValueError unless columns of one table have the same length."""
    tables: dict[str, Any] = {"queries": (details.queries, details.rank)}
    for part in _PARTS:
        value = getattr(details, part)
        columns = [getattr(value, each.name) for each in fields(value)]
        tables[part] = [each for each in columns if isinstance(each, np.ndarray)]
    tables["histogram"] = [details.histogram.edges[1:], *tables["histogram"][1:]]
    tables["map"] = [each for each in tables["map"] if each is not details.map.explained]
    tables["classes"].append(details.classes.names)
    for name, columns in tables.items():
        if len({len(each) for each in columns}) != 1:
            raise ValueError(f"{name} has columns of different lengths")

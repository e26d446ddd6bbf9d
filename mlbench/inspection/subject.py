"""What is inspected: the splits of a data set, the images of a folder, or those of a manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mlbench.contracts import SPLITS, Dataset, GroupedSplit, Split
from mlbench.errors import DataError
from mlbench.images.class_folders import ClassFolders, read_class_folders
from mlbench.images.decode import Box, UnreadableImageError, decode
from mlbench.images.manifest import read_manifest

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["ImageSource", "Part", "Shown", "Subject", "of_dataset", "of_folder", "of_manifest"]

#: Images of files are decoded with at least so many pixels on the shorter side, if the file has as many.
_SHORT_SIDE = 512


class Shown(NamedTuple):
    """An image in RGB. size: (width, height) in its file, or as given where there is no file. remarks: on how
    it was read."""

    image: Image.Image
    size: tuple[int, int]
    remarks: tuple[str, ...] = ()


class ImageSource(Protocol):
    """Images by position. Picklable, for worker processes."""

    def read(self, index: int) -> Shown:
        """Image `index`. Raises DataError with the reason alone."""
        ...

    def name(self, index: int) -> str:
        """Its file, relative to the folder that is inspected, or another name; "" for none."""
        ...


@dataclass(frozen=True)
class Part:
    """One split, or images that are not divided (split "").

    labels: (N,) positions in `classes`, -1 for an image without a label. groups: (N,) (see `GroupedSplit`).
    """

    split: str
    source: ImageSource
    labels: np.ndarray
    classes: Sequence[str]
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Subject:
    """Images to inspect.

    source: for messages. version, dataset, image_size: of a data set in a suite. full_size: whether sizes are
    those in the files. shared: whether classes of test are meant to be in train. notes: on what is not read.
    look_alike: groups of class folders that are read as one class. empty: class folders without images.
    """

    source: str
    parts: tuple[Part, ...]
    version: str = ""
    dataset: Mapping[str, Any] | None = None
    image_size: int | None = None
    full_size: bool = True
    shared: bool = False
    notes: tuple[str, ...] = ()
    look_alike: tuple[tuple[str, ...], ...] = ()
    empty: tuple[str, ...] = ()


def of_dataset(
    dataset: Dataset, source: str, described: Mapping[str, Any], image_size: int, *, shared: bool
) -> Subject:
    """The splits of a data set. described: its name and options. shared: see `Subject`."""
    parts = tuple(_part_of_split(name, dataset.split(name)) for name in SPLITS)
    notes = tuple(dataset.notes)
    return Subject(source, parts, str(dataset.version), described, image_size, False, shared, notes)


def of_folder(folder: Path, level: int | None = None) -> Subject:
    """The images below a folder, with the classes that `mlbench init` takes: the folders at `level`, None for
    the deepest; without a label where there are no class folders. Raises DataError for a missing folder, one
    without images, and a level without class folders."""
    found = read_class_folders(folder)
    if not found.paths:
        raise DataError(f"{folder}: no images{''.join(f' ({note})' for note in found.notes)}")
    if level is not None and level > found.depth:
        raise DataError(
            f"{folder}: no class folders at level {level}; the images lie at most {found.depth} folders deep"
        )
    level = level or max(1, found.depth)
    rows = [
        (found.splits.get(found.place(path)[0], ""), found.label(path, level), path) for path in found.paths
    ]
    beside = [path for split, _, path in rows if found.splits and not split]
    notes = list(found.notes)
    if beside:
        notes.append(f"images outside of the split folders, not checked: {len(beside):,}")
        rows = [row for row in rows if row[0]]
    alone = sum(not label for _, label, _ in rows)
    if alone and found.depth:
        notes.append(f"images outside of class folders, checked without a label: {alone:,}")
    parts = _parts([(split, label, path, None, "") for split, label, path in rows], folder)
    named = found.classes(level)
    source = f"folder {folder}"
    if found.depth > 1:
        source += f", classes at level {level} of {found.depth}"
    empty = tuple(found.empty(level)) if named else ()
    return Subject(source, parts, notes=tuple(notes), look_alike=_forms(found, level), empty=empty)


def of_manifest(file: Path) -> Subject:
    """The images that a manifest lists; labels may be absent. Raises DataError with file and line of the
    first error in it."""
    manifest = read_manifest(file, needs_labels=False)
    rows = [(each.split or "", each.label, each.path, each.box, each.group) for each in manifest.rows]
    return Subject(f"manifest {file}", _parts(rows, file.parent), notes=tuple(manifest.notes))


_Row = tuple[str, str, str, Box | None, str]


def _parts(rows: Sequence[_Row], root: Path) -> tuple[Part, ...]:
    """Parts of files. rows: split, label, path, box and group of each image."""
    import numpy as np

    chosen: dict[str, list[_Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row[1], row[2], row[3] or ())):
        chosen[row[0]].append(row)
    order = [name for name in ("", *SPLITS) if name in chosen]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row[4] for row in rows if row[4]))}
    uses: dict[tuple[str, Box | None], set[str]] = defaultdict(set)
    for row in rows:
        uses[row[2], row[3]].add(row[0])
    # An image with a row for each of its splits is never compared with itself.
    repeated = {
        key: len(numbers) + number for number, key in enumerate(k for k, v in uses.items() if len(v) > 1)
    }
    parts = []
    for name in order:
        here = chosen[name]
        classes = sorted({row[1] for row in here if row[1]})
        positions = {label: position for position, label in enumerate(classes)}
        groups = [numbers.get(row[4], repeated.get((row[2], row[3]), -1)) for row in here]
        files = _Files(str(root), [row[2] for row in here], [row[3] for row in here])
        labels = np.array([positions.get(row[1], -1) for row in here], np.int64)
        grouped = np.array(groups, np.int64) if max(groups) >= 0 else None
        parts.append(Part(name, files, labels, classes, grouped))
    return tuple(parts)


@dataclass(frozen=True)
class _Files:
    """Image files. paths: relative to root or absolute."""

    root: str
    paths: list[str]
    boxes: list[Box | None]

    def read(self, index: int) -> Shown:
        box = self.boxes[index]
        try:
            data = Path(self.root, self.paths[index]).read_bytes()
            image, size, remarks = decode(data, short_side=_SHORT_SIDE, box=box)
        except OSError as error:
            raise DataError(error.strerror or str(error)) from None
        except UnreadableImageError as error:
            raise DataError(str(error)) from None
        except ValueError:  # such as a null character in the path
            raise DataError("not a path") from None
        if box is not None:
            size = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
        return Shown(image, size, remarks)

    def name(self, index: int) -> str:
        box = self.boxes[index]
        return self.paths[index] + (f" [{','.join(f'{edge:g}' for edge in box)}]" if box else "")


@dataclass(frozen=True)
class _SplitImages:
    """Images of a split, through its contract."""

    split: Split

    def read(self, index: int) -> Shown:
        image = self.split.image(index)
        return Shown(image.convert("RGB"), image.size)

    def name(self, index: int) -> str:
        where = getattr(self.split, "where", None)  # not every split has files
        return str(where(index)) if callable(where) else ""


def _part_of_split(name: str, split: Split) -> Part:
    import numpy as np

    count = len(split)
    # An image with role 0 has no label: it is in a list of pairs alone.
    labels = [split.label(index) if split.role(index) else -1 for index in range(count)]
    classes = [split.class_name(label) for label in range(split.num_classes)]
    groups = split.groups if isinstance(split, GroupedSplit) else None
    return Part(name, _SplitImages(split), np.array(labels, np.int64), classes, groups)


def _forms(found: ClassFolders, level: int) -> tuple[tuple[str, ...], ...]:
    """Class folders of one split whose names differ in their Unicode form alone."""
    forms: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in found.paths:
        split, parts = found.place(path)
        written = "/".join(parts[:level])
        if not written.isascii():
            forms[split, found.label(path, level)].add(written)
    return tuple(tuple(sorted(names)) for _, names in sorted(forms.items()) if len(names) > 1)

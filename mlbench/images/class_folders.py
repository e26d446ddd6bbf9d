"""Images in class folders: the folders of the splits, and the classes at a level of the tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from mlbench.contracts import SplitName
from mlbench.errors import DataError
from mlbench.images.image_files import find_images, split_of, subfolders
from mlbench.names import one_form

__all__ = ["ClassFolders", "read_class_folders"]


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images below a folder, with their classes.

    Levels count from the folder itself, or from the split folders if there are any: at level 1 the
    sub-folders are the classes, at level 2 their sub-folders ("fruit/apple"). The class of an image at a
    level is its own folder if that is less deep, else the folder at the level.

    paths: of the images, from `find_images`. splits: the top folders that are splits; empty if there are
    none. beside: the top folders that are left out because others are splits. notes: on files and links that
    are not read.
    """

    folder: Path
    paths: list[str]
    splits: Mapping[str, SplitName]
    beside: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def place(self, path: str) -> tuple[str, list[str]]:
        """The split folder of an image ("" without splits) and the folders from there to the image; no
        folders if the image is outside all class folders."""
        parts = path.split("/")[:-1]
        if not self.splits:
            return "", parts
        return (parts[0], parts[1:]) if parts and parts[0] in self.splits else ("", [])

    @property
    def depth(self) -> int:
        """Level of the deepest folder with an image, where every class folder is a leaf."""
        return max((len(self.place(path)[1]) for path in self.paths), default=0)

    def label(self, path: str, level: int) -> str:
        """The class of an image at a level; "" if it is outside all class folders."""
        return one_form("/".join(self.place(path)[1][:level]))

    def classes(self, level: int) -> Counter[str]:
        """Number of images of each class at a level."""
        return Counter(filter(None, (self.label(path, level) for path in self.paths)))

    def empty(self, level: int) -> list[str]:
        """Relative paths of folders without an image, down to a level; only the outermost of nested ones."""
        filled = {path[:end] for path in self.paths for end in _ends(path)}
        return [name for top in self.splits or ("",) for name in _empty(self.folder, top, level, filled)]


def read_class_folders(folder: Path) -> ClassFolders:
    """Find the images and the splits of `folder`.

    Its sub-folders are splits if all of them have names of splits, or if train and test are among them and
    have sub-folders. Raises DataError if the folder does not exist, a folder cannot be listed, or two folders
    are for one split.
    """
    found = find_images(folder)
    try:
        top = subfolders(folder)
        named = {name: split for name in top if (split := split_of(name))}
        nested = {split for name, split in named.items() if subfolders(folder / name)}
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from None
    notes = tuple(found.notes())
    if not named or (len(named) < len(top) and not {"train", "test"} <= nested):
        return ClassFolders(folder, found.paths, {}, (), notes)
    for split in named.values():
        names = [name for name, other in named.items() if other == split]
        if len(names) > 1:
            raise DataError(f"{folder}: several folders for the {split} split ({', '.join(names)}); keep one")
    beside = tuple(name for name in top if name not in named)
    return ClassFolders(folder, found.paths, named, beside, notes)


def _empty(folder: Path, start: str, level: int, filled: Set[str]) -> Iterator[str]:
    """The outermost folders below `start`, down to a level, that are not in `filled`."""
    for name in subfolders(folder / start) if level else ():
        inner = f"{start}/{name}" if start else name
        if inner in filled:
            yield from _empty(folder, inner, level - 1, filled)
        else:
            yield inner


def _ends(path: str) -> Iterator[int]:
    """The index in `path` where the name of each of its folders ends."""
    end = path.find("/")
    while end >= 0:
        yield end
        end = path.find("/", end + 1)

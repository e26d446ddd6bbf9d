"""Class folders in a tree of images: which folders are splits, and which classes there are at a level."""

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
    """The images of a folder by the folders that they lie in.

    Levels count from the folder itself, or from the folders of the splits where there are some: at level 1
    their sub-folders are the classes, at level 2 the sub-folders of those ("fruit/apple"). An image that lies
    less deep belongs to the folder that holds it, one that lies deeper to the folder at the level.

    paths: of the images, as `find_images` gives them. splits: the folders at the top that are splits, none
    where the user has made none. beside: the folders at the top that are left out because others are splits.
    notes: on files and links that are not read.
    """

    folder: Path
    paths: list[str]
    splits: Mapping[str, SplitName]
    beside: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def place(self, path: str) -> tuple[str, list[str]]:
        """The folder of the split of an image ("" without splits), and the folders from there to the image:
        none where it lies outside of all class folders."""
        parts = path.split("/")[:-1]
        if not self.splits:
            return "", parts
        return (parts[0], parts[1:]) if parts and parts[0] in self.splits else ("", [])

    @property
    def depth(self) -> int:
        """Level of the deepest folder that holds an image; there every class folder is a leaf."""
        return max((len(self.place(path)[1]) for path in self.paths), default=0)

    def label(self, path: str, level: int) -> str:
        """The class of an image at a level; "" outside of all class folders."""
        return one_form("/".join(self.place(path)[1][:level]))

    def classes(self, level: int) -> Counter[str]:
        """Names of the classes at a level, with the number of their images."""
        return Counter(filter(None, (self.label(path, level) for path in self.paths)))

    def empty(self, level: int) -> list[str]:
        """Folders down to a level without an image in them, the outermost alone, relative."""
        filled = {path[:end] for path in self.paths for end in _ends(path)}
        return [name for top in self.splits or ("",) for name in _empty(self.folder, top, level, filled)]


def read_class_folders(folder: Path) -> ClassFolders:
    """Find the images and the splits of `folder`.

    Its folders are splits where all of them are called so, or where train and test are among them and hold
    folders themselves. Raises DataError where there is no such folder, one cannot be
    listed, or two are for one split.
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
    """Folders from `start` down to a level below it that are not among the `filled` ones."""
    for name in subfolders(folder / start) if level else ():
        inner = f"{start}/{name}" if start else name
        if inner in filled:
            yield from _empty(folder, inner, level - 1, filled)
        else:
            yield inner


def _ends(path: str) -> Iterator[int]:
    """Where the names of the folders of `path` end in it."""
    end = path.find("/")
    while end >= 0:
        yield end
        end = path.find("/", end + 1)

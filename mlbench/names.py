"""Names in Unicode: an accented letter is one code point (NFC) or two (NFD), and keyboards, file systems and
archives differ in which they use."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["find_path", "find_paths", "one_form"]


def one_form(name: str) -> str:
    """`name` in NFC, the form in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def find_path(path: Path) -> Path:
    """`path` in the Unicode form that the file system has it in; unchanged where there is no such file."""
    return Path(next(find_paths("", [str(path)])))


def find_paths(root: str | os.PathLike[str], paths: Iterable[str]) -> Iterator[str]:
    """The same for many paths that are relative to `root` or absolute; folders are listed once."""
    listed: dict[str, dict[str, str]] = {}
    for path in paths:
        if path.isascii() or os.path.lexists(os.path.join(root, path)):
            yield path
        else:
            yield _found(os.fspath(root), path, listed)


def _found(root: str, path: str, listed: dict[str, dict[str, str]]) -> str:
    found = ""
    for part in Path(path).parts:
        place = os.path.join(found, part)
        if not os.path.lexists(os.path.join(root, place)):
            folder = os.path.join(root, found)
            if folder not in listed:
                listed[folder] = {one_form(name): name for name in _names(folder)}
            if one_form(part) not in listed[folder]:
                return path
            place = os.path.join(found, listed[folder][one_form(part)])
        found = place
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or os.curdir)
    except OSError:
        return []

"""Modules of Python files that the user names, importable by every process that this one starts.

A file gets the module `mlbench.local_modules.NAME`. Python imports a module's parent first, which is this
one: it finds the file by a table in the environment, which new processes inherit. So the classes of a file
can be pickled to worker processes and to the measuring process. Only files in the table are ever imported;
the folder of a file does not become a place to import from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ["add_file", "file_hash", "file_of"]

#: Makes this module a parent of others.
__path__: list[str] = []

#: Environment variable with the table: JSON, path by name.
_TABLE = "MLBENCH_LOCAL_MODULES"


def add_file(path: Path) -> str:
    """The module's full name for a file as it is now. A file that has changed since is another module, as is
    a file of the same name elsewhere. Raises OSError when it cannot be read."""
    path = path.resolve()
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{stem}_{_hash(path, path.read_bytes())[:8]}"
    os.environ[_TABLE] = json.dumps({**_table(), name: str(path)})
    return f"{__name__}.{name}"


def file_of(module: str) -> Path | None:
    """The file of a module that `add_file` named; None for any other module."""
    parent, _, name = module.rpartition(".")
    found = _table().get(name) if parent == __name__ else None
    return Path(found) if found else None


def file_hash(path: Path) -> str:
    """First 12 hex digits of a hash of the content, the same wherever the file is. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _table() -> Mapping[str, str]:
    found: Mapping[str, str] = json.loads(os.environ.get(_TABLE, "{}"))
    return found


def _hash(path: Path, content: bytes) -> str:
    return hashlib.sha256(str(path).encode() + b"\0" + content).hexdigest()


class _Loader(SourceLoader):
    """Loads a file that must not have changed since it was added. Writes no bytecode beside it."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return Path(os.fsdecode(path)).read_bytes()

    def exec_module(self, module: ModuleType) -> None:
        path = Path(self._path)
        if not module.__name__.endswith(_hash(path, path.read_bytes())[:8]):
            raise ImportError(f"{path} has changed since the command started; start it again")
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = file_of(fullname)
        return None if file is None else spec_from_file_location(fullname, file, loader=_Loader(file))


sys.meta_path.append(_Finder())

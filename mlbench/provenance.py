"""Hashes of the code that a result depends on."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlbench.local_modules import file_hash, file_of

__all__ = ["code_hash", "core_hash", "libraries_of", "package_hash"]

#: This package, and the distribution of the same name.
_CORE = __name__.partition(".")[0]


def code_hash(module: str, distributed: str = "") -> str:
    """`package_hash` of the outermost package that holds `module`; for a file that the user named (see
    `mlbench.local_modules`), the hash of that file."""
    if (file := file_of(module)) is not None:
        return file_hash(file)
    found = _outermost(module)
    return package_hash(found[0], distributed) if found else ""


@cache
def package_hash(package: str, distributed: str) -> str:
    """First 12 hex digits of a hash of the code of a package with components.

    package: a top-level package, or a module outside any package. distributed: name of the distribution that
    registers the components.

    The hash covers the package, every other Python file of the distribution, and the versions of the
    libraries that it requires. An editable install does not list its files: there the hash covers the
    packages of its entry points and what they import from the same project. Without a distribution it covers
    what the package imports from its own parent folder.

    For mlbench's own components it covers the package alone, so that an edited loss does not invalidate other
    cases: these packages do not import each other, and the core has a hash of its own.
    """
    if distributed == _CORE:
        return _digest(_own_files(package))
    found = _distribution(distributed)
    if found is None:
        return _digest(_closure([package], [], None))
    return _digest(_files_of(found, package), _requirements(found))


@cache
def libraries_of(distributed: str, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions, by normalised name, of the libraries that a third-party distribution requires, and of `more`
    distributions; "not installed" for one that is missing."""
    found = None if distributed == _CORE else _distribution(distributed)
    given = (*(_required(found) if found is not None else ()), *more)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in given}
    return {name: _version(name) or "not installed" for name in sorted(names)}


@cache
def core_hash(*parts: str) -> str:
    """First 12 hex digits of a hash over the code of parts of the core: folders ("training") and modules
    ("training.model")."""
    root = Path(__file__).parent
    files: dict[str, Path] = {}
    for name in parts:
        path = root.joinpath(*name.split("."))
        for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
            files[file.relative_to(root).as_posix()] = file
    return _digest(files)


def _digest(files: Mapping[str, Path], more: str = "") -> str:
    """The hash covers relative names and not the folders above, so it is the same on every machine."""
    digest = hashlib.sha256(more.encode())
    for name, file in sorted(files.items()):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):
        return None


def _files_of(found: Distribution, package: str) -> dict[str, Path]:
    project = _project(found)
    if project is None:
        names = [each.as_posix() for each in found.files or () if each.suffix == ".py"]
        listed = {name: Path(str(found.locate_file(name))) for name in names if not name.startswith("..")}
        return {name: file for name, file in listed.items() if file.is_file()} | _own_files(package)
    own = [point.module for point in found.entry_points]
    own += (found.read_text("top_level.txt") or "").split()
    return _closure([package], own, project)


def _project(found: Distribution) -> Path | None:
    """The folder of an editable install's sources; None for any other install (PEP 610)."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            return None
        return Path(url2pathname(urlsplit(origin["url"]).path)).resolve()
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _requirements(found: Distribution) -> str:
    """The libraries that a distribution requires, with their versions here."""
    return "\n".join(f"{name} {_version(name)}" for name in _required(found))


def _required(found: Distribution) -> list[str]:
    """Names of the libraries that a distribution requires without extras."""
    lines = [line for line in found.requires or () if "extra ==" not in line]
    return sorted({re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0] for line in lines} - {_CORE})


def _version(name: str) -> str:
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return ""


def _closure(modules: Iterable[str], more: Iterable[str], project: Path | None) -> dict[str, Path]:
    """Files of the packages of `modules`; and, inside the project (without one, in the package's parent
    folder), files of the packages of `more` and of every package that these import."""
    files: dict[str, Path] = {}
    waiting: list[tuple[str, Path | None]] = [(each, None) for each in modules]
    waiting += [(each, project) for each in more]
    seen: set[str] = set()
    while waiting:
        module, inside = waiting.pop()
        name, origin = _outermost(module) or ("", Path())
        if not name or name in seen:
            continue
        folder = _folder(name, origin)
        if inside is not None and (not folder.is_relative_to(inside) or _is_shared(folder)):
            continue
        seen.add(name)
        own = _own_files(name)
        files |= own
        imported = {each for file in own.values() for each in _imports(file)}
        waiting += [(each, project or folder) for each in imported]
    return files


def _own_files(package: str) -> dict[str, Path]:
    """Files of a top-level package or module, by their path from the folder that it is imported from."""
    found = _outermost(package)
    if found is None:
        return {}
    name, origin = found
    folder = _folder(name, origin)
    files = origin.parent.rglob("*.py") if _is_package(origin) else [origin]
    return {file.relative_to(folder).as_posix(): file for file in files}


def _folder(name: str, origin: Path) -> Path:
    return origin.parents[name.count(".") + _is_package(origin)]


def _is_package(origin: Path) -> bool:
    return origin.name == "__init__.py"


def _is_shared(folder: Path) -> bool:
    """Whether several distributions are installed in the folder, as in site-packages."""
    return any(folder.glob("*.dist-info"))


def _outermost(module: str) -> tuple[str, Path] | None:
    """Name and file of the top-level package or module of a dotted name; None where there is none, and for
    the standard library. A namespace package is skipped: it has no file, and many distributions share it."""
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names:
        return None
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is not None and spec.has_location and spec.origin:
            return name, Path(spec.origin).resolve()
    return None


def _imports(file: Path) -> Iterator[str]:
    """Every dotted name that a file imports, anywhere in it, except the core's."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.partition(".")[0] != _CORE)

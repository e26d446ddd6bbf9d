"""A plugin package that an author starts from, written from templates.

The templates are files in `plugin_templates`: `package` has those of the whole package, and one folder for
each kind of component its module, its test, its registration and its case of the suite. A name after a dollar
sign is replaced; nothing else is.
"""

from __future__ import annotations

import keyword
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from mlbench import __version__
from mlbench.contracts import CONTRACT
from mlbench.errors import StoreError
from mlbench.registry import Registry

__all__ = ["MAX_NAME", "PluginPackage", "write_package"]

#: As of a suite, whose name is that of the package.
MAX_NAME = 60


@dataclass(frozen=True)
class PluginPackage:
    """A package to write. name: of its distribution. kinds: of its components, one each."""

    name: str
    kinds: tuple[str, ...]

    @property
    def module(self) -> str:
        """The Python package; it is also the name of every component."""
        return re.sub(r"[-_.]+", "_", self.name).lower()

    def class_of(self, kind: str) -> str:
        """The class of the component of a kind."""
        stem, suffix = (
            "".join(part[:1].upper() + part[1:] for part in name.split("_")) for name in (self.module, kind)
        )
        return stem if stem.endswith(suffix) else stem + suffix

    def module_of(self, kind: str) -> str:
        """Path of the module of a component, from the folder of the package."""
        return f"src/{self.module}/{kind}.py"

    def check(self, registry: Registry) -> None:
        """Raise click.BadParameter for a name that cannot be used or is taken."""
        if problem := self._problem(registry):
            raise click.BadParameter(problem, param_hint="NAME")

    def _problem(self, registry: Registry) -> str:
        """What is wrong with the name, "" for nothing."""
        name, module = self.name, self.module
        if len(name) > MAX_NAME or not re.fullmatch(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
            return (
                f"{name!r} cannot name a package; expected a letter, then letters, digits, '-', '_' and '.', "
                f"at most {MAX_NAME} in all, such as acme-margin"
            )
        if keyword.iskeyword(module) or keyword.issoftkeyword(module):
            return f"{name!r} makes the module {module}, a keyword of Python; choose another"
        if module in sys.stdlib_module_names or find_spec(module) is not None:
            return f"{name!r} makes the module {module}, which exists already; choose another"
        try:
            return (
                f"the package {name} {distribution(name).version} is installed already; choose another name"
            )
        except PackageNotFoundError:
            pass
        for kind in self.kinds:
            if module in registry.names(kind):
                owner = registry.get(kind, module).plugin.package
                return f"{owner} has a {kind} {module!r} already; choose another name"
            if re.search(rf"\b{self.class_of(kind)}\b", _template(f"{kind}/component.py.in").read_text()):
                return f"{name!r} makes the class {self.class_of(kind)}, which its base has; choose another"
        return ""

    def files(self) -> Mapping[str, str]:
        """Text of every file by its path from the folder of the package."""
        whole = {
            "name": self.name,
            "module": self.module,
            "component": self.module,
            "mlbench": __version__,
            "contract": str(CONTRACT),
            "suite": self.name,
            "show": f"mlbench show {self.kinds[0]} {self.module}",
            "table": "\n".join(
                f"| {kind} | `{self.module}` | `{self.module_of(kind)}` |" for kind in self.kinds
            ),
            "registrations": self._joined("register.in"),
            "cases": self._joined("case.yaml.in"),
            "claims": self._joined("claims.yaml.in"),
            "track": self._joined("track.yaml.in"),
        }
        found = {
            path: _filled(f"package/{template}", whole)
            for path, template in {
                "pyproject.toml": "pyproject.toml.in",
                "README.md": "README.md.in",
                "suite.yaml": "suite.yaml.in",
                ".gitignore": "gitignore.in",
                ".github/workflows/ci.yml": "ci.yml.in",
                f"src/{self.module}/__init__.py": "init.py.in",
                f"tests/test_{self.module}.py": "test_package.py.in",
            }.items()
        }
        for kind in self.kinds:
            found[self.module_of(kind)] = _filled(f"{kind}/component.py.in", self._names(kind))
            found[f"tests/test_{self.module}_{kind}.py"] = _filled(f"{kind}/test.py.in", self._names(kind))
        return found

    def _names(self, kind: str) -> dict[str, str]:
        return {"module": self.module, "component": self.module, "class_": self.class_of(kind)}

    def _joined(self, template: str) -> str:
        """The template of every kind that has it, one after the other; a text that kinds share once."""
        paths = {kind: f"{kind}/{template}" for kind in self.kinds}
        known = {kind: path for kind, path in paths.items() if _template(path).is_file()}
        return "".join(dict.fromkeys(_filled(path, self._names(kind)) for kind, path in known.items()))


def write_package(package: PluginPackage, folder: Path) -> None:
    """Write the package into a new folder, whole or not at all.

    Raises StoreError for a folder that exists or cannot be written.
    """
    texts = package.files()
    with _new_folder(folder) as scratch:
        for name, text in texts.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when everything in it is written."""
    if os.path.lexists(folder):
        raise StoreError(f"{folder}: exists already; name another folder with --output")
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as holder:
            scratch = Path(holder, folder.name)
            scratch.mkdir()
            yield scratch
            scratch.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})") from None


def _template(path: str) -> Path:
    return Path(str(files("mlbench.commands").joinpath("plugin_templates"))) / path


def _filled(path: str, names: Mapping[str, str]) -> str:
    return Template(_template(path).read_text(encoding="utf-8")).substitute(names)

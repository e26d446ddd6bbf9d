"""Plugins of one file that the user names, without a package: `--plugin FILE`, or `plugins` of a suite."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlbench.contracts import Component
from mlbench.errors import SuiteError
from mlbench.local_modules import add_file, file_hash
from mlbench.places import place_in_package
from mlbench.plugins import ModuleSource, Plugin, load_plugins
from mlbench.registration import Fault

__all__ = ["FILE_PACKAGE", "PluginFile", "add_plugin_files"]

#: Package of a plugin of one file, in records too. Its version is the file's hash, its name the path.
FILE_PACKAGE = "(file)"


@dataclass(frozen=True, slots=True)
class PluginFile:
    """A file with components. path: of the file. origin: where it was named, for messages."""

    path: Path
    origin: str


def add_plugin_files(plugins: Sequence[Plugin], files: Sequence[PluginFile]) -> tuple[Plugin, ...]:
    """The plugins, and those of the files that are not among them yet.

    Raises SuiteError for a file that is missing or no plugin, and for a component that another plugin has.
    """
    found = list(plugins)
    for file in files:
        module = _module(file)
        if any(plugin.target == module for plugin in found):
            continue
        plugin = _load(file, module)
        _check_names(plugin, file, found)
        found.append(plugin)
    return tuple(found)


def _module(file: PluginFile) -> str:
    path = file.path
    if path.is_dir():
        raise SuiteError(
            f"{file.origin}: a folder; expected a Python file, or install it: pip install -e {path}"
        )
    if path.suffix != ".py":
        raise SuiteError(f"{file.origin}: not a Python file; expected a name that ends in .py")
    try:
        return add_file(path)
    except FileNotFoundError:
        raise SuiteError(f"{file.origin}: no such file: {path.resolve()}") from None
    except OSError as error:
        raise SuiteError(f"{file.origin}: {path} cannot be read ({error.strerror})") from None


def _load(file: PluginFile, module: str) -> Plugin:
    source = _Source(str(file.path), module)
    (plugin,) = load_plugins(sources=[source])
    for problem in _problems(plugin):
        raise SuiteError(f"{file.origin}: {file.path}:{source.line}: {problem}{_advice(file, source)}")
    components = tuple(_own(component, file.path.stem, module) for component in plugin.components)
    version = file_hash(file.path)
    return replace(plugin, package=FILE_PACKAGE, version=version, components=components)


def _problems(plugin: Plugin) -> Iterator[str]:
    """What sets the plugin or one of its components aside: an error, as the user named the file."""
    if plugin.error:
        # A file is left out by not naming it.
        yield plugin.error if "--block" in plugin.fix else Fault(plugin.error, plugin.fix).text
    for fault in plugin.faults:
        yield f"{fault}: {fault.text}"


def _own(component: Component, stem: str, module: str) -> Component:
    """The component with its target in the file's module: the file calls itself by its own name, my-loss.py
    also my_loss."""
    named, _, attribute = component.options.partition(":")
    own = named in (stem, re.sub(r"\W", "_", stem))
    return replace(component, options=f"{module}:{attribute}") if own else component


def _check_names(plugin: Plugin, file: PluginFile, others: Sequence[Plugin]) -> None:
    owners = {(each.kind, each.name): other for other in others for each in other.components}
    for each in plugin.components:
        owner = owners.get((each.kind, each.name))
        if owner is not None:
            raise SuiteError(
                f"{file.origin}: {file.path} registers the {each.kind} {each.name!r}, which {owner} has; "
                "choose another name"
            )


def _advice(file: PluginFile, source: _Source) -> str:
    """What to do about an import of a file that stands beside the plugin."""
    error = source.error
    missing = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    beside = file.path.parent
    if missing and ((beside / f"{missing}.py").is_file() or (beside / missing).is_dir()):
        return "; a plugin of one file imports no others beside it; make a package: mlbench plugin new NAME"
    return ""


class _Source(ModuleSource):
    """The module of a file; keeps what goes wrong when it is imported, and in which line."""

    def __init__(self, name: str, target: str) -> None:
        super().__init__(name, target)
        self.line = 1
        self.error: BaseException | None = None

    def load(self) -> Any:
        try:
            module = super().load()
        except BaseException as error:
            self.error, place = error, place_in_package(error, self.value)
            self.line = place.line if place else 1
            raise
        hook = getattr(module, "mlbench_components", None)
        self.line = getattr(getattr(hook, "__code__", None), "co_firstlineno", 1)
        return module

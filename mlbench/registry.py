"""The registry: components by kind and name, each with its plugin."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, OptionError, first_line, hint
from mlbench.imports import guarded_import
from mlbench.places import place_in_package
from mlbench.plugins import SLOW, ModuleSource, Plugin, environment_choice, load_plugins
from mlbench.provenance import code_hash, libraries_of
from mlbench.registration import NAME, Fault

if TYPE_CHECKING:
    from mlbench.options import Option, Schema

__all__ = ["Entry", "Registry"]


@dataclass(frozen=True)
class Entry:
    """A registered component and its plugin. Its options class is imported when it is first asked for.

    registry: has the inner components of its options; None for the installed ones that the environment
    chooses, and those that the hook of the component's own module or of its package registers."""

    component: Component
    plugin: Plugin
    registry: Registry | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.component.kind} {self.component.name!r}"

    @property
    def options_class(self) -> Any:
        """The options class. Raises ComponentError when it cannot be imported or breaks the contract."""
        return self._schema.options_class

    @property
    def options(self) -> tuple[Option, ...]:
        """Every option. Raises ComponentError as `options_class` does."""
        return self._schema.options

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given options with defaults filled in, as plain JSON data. Raises OptionError."""
        return self._schema.check(given, self._inner)

    def make(self, given: Mapping[str, Any]) -> Any:
        """An instance of the options class (see `mlbench.contracts.options`). Raises OptionError."""
        return self._schema.make(given, self._inner)

    def inner(self, kind: str, name: str) -> Entry:
        """An inner component. Raises ComponentError for an unknown one."""
        return self._registry.get(kind, name)

    def inner_components(self, options: Any) -> Iterator[tuple[str, Entry, Any]]:
        """The components in `options`, an instance of the options class: path of the option, entry,
        options."""
        from mlbench.contracts.nested import inner_components
        from mlbench.contracts.options import NESTED, Options

        for path, each in inner_components(options, Options):
            kinds = [kind for base, kind in NESTED.items() if isinstance(each, base)]
            if each.registered_name and kinds:
                yield path, self.inner(kinds[0], each.registered_name), each

    def _inner(self, kind: str, given: Any) -> Any:
        """The options of an inner component, by its name or a mapping of its name and options."""
        options = {"name": given} if isinstance(given, str) else dict(given)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise OptionError(f"which {kind}? it has no name; {hint('', self._names(kind))}")
        made = self.inner(kind, name).make(options)
        made._registered_name = name
        return made

    def _names(self, kind: str) -> list[str]:
        return self._registry.names(kind)

    @cached_property
    def _registry(self) -> Registry:
        if self.registry is not None:
            return self.registry
        block, only = environment_choice()
        installed = load_plugins(block=block, only=only)
        return Registry((*installed, *_beside(self.component, installed)))

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that a third-party package requires, and of those that the options class
        names. Raises ComponentError as `options_class` does."""
        return libraries_of(self.plugin.package, tuple(self.options_class.libraries))

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Package, version and a hash of the code."""
        return {
            "package": self.plugin.package,
            "version": self.plugin.version,
            "code": code_hash(self.component.options.partition(":")[0], self.plugin.package),
        }

    def _note(self, line: str) -> None:
        if self.registry is not None:
            self.registry.note(line)

    @cached_property
    def _schema(self) -> Schema:
        # Late: listing components needs no pydantic.
        from mlbench.contracts.options import BASES
        from mlbench.options import Schema

        target = self.component.options
        module_name, _, attribute = target.partition(":")
        try:
            with guarded_import(f"{self} of {self.plugin} from {target}") as run:
                options_class = getattr(import_module(module_name), attribute)
        except KeyboardInterrupt:
            raise
        # Foreign code may raise anything; only cases that need this component fail.
        except BaseException as error:
            place = place_in_package(error, module_name)
            raise ComponentError(
                f"{self} of {self.plugin} cannot be imported from {target}: {first_line(error)}"
                f"{f' ({place})' if place else ''}"
            ) from error
        if run.printed.strip():
            line = run.printed.strip().splitlines()[0]
            self._note(f"the import of {self} of {self.plugin} prints {line!r}")
        if run.seconds > SLOW and not self.plugin.built_in:
            self._note(
                f"the import of {self} of {self.plugin} took {run.seconds:.1f} s; import large packages "
                f"inside build"
            )
        try:
            return Schema(options_class, BASES[self.component.kind], owner=str(self))
        except ComponentError as error:
            raise ComponentError(self.plugin.blamed(str(error))) from None


def _beside(component: Component, installed: Sequence[Plugin]) -> Iterator[Plugin]:
    """The plugin that the module of a component is, or else a package above it, without the components of
    installed plugins; nothing where none has the hook."""
    module = component.options.partition(":")[0]
    while module and not hasattr(sys.modules.get(module), "mlbench_components"):
        module = module.rpartition(".")[0]
    if module:
        known = {(each.kind, each.name) for plugin in installed for each in plugin.components}
        (own,) = load_plugins(sources=[ModuleSource(module, module)])
        yield replace(
            own, components=tuple(each for each in own.components if (each.kind, each.name) not in known)
        )


def _no_note(line: str) -> None:
    """Drops the line. A function with a name: a registry is pickled for the measuring process."""


class Registry:
    """Every component of the given plugins. Immutable.

    A component with the name of a built-in one is set aside. Of two third-party components with one name
    neither is used, and `get` says so. `plugins` are the given ones with the faults of what is set aside.

    note: takes lines on imports of options classes that print or are slow. left_out: names of plugins that
    were not loaded, for messages.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        *,
        note: Callable[[str], None] = _no_note,
        left_out: Iterable[str] = (),
    ) -> None:
        holders: dict[tuple[str, str], list[Plugin]] = {}
        for plugin in plugins:
            for component in plugin.components:
                holders.setdefault((component.kind, component.name), []).append(plugin)
        self.plugins = tuple(_without_duplicates(plugin, holders) for plugin in plugins)
        entries = {
            (component.kind, component.name): Entry(component, plugin, registry=self)
            for plugin in self.plugins
            for component in plugin.components
        }
        self._entries = dict(sorted(entries.items()))
        self.note = note
        self._left_out = tuple(left_out)
        self._names: dict[str, list[str]] = {}
        for kind, name in self._entries:
            self._names.setdefault(kind, []).append(name)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """Plugins that could not be loaded."""
        return tuple(plugin for plugin in self.plugins if plugin.error)

    def replaced(self, plugins: Sequence[Plugin]) -> Registry:
        """A registry of these plugins that is otherwise like this one."""
        return Registry(plugins, note=self.note, left_out=self._left_out)

    def names(self, kind: str) -> list[str]:
        """Names of all components of a kind, sorted."""
        return list(self._names.get(kind, ()))

    def get(self, kind: str, name: str) -> Entry:
        """The component, or ComponentError with the reason: it is set aside, or unknown; then with the
        nearest name and any plugin that failed to load."""
        if kind not in KINDS:
            raise ComponentError(f"unknown kind {kind!r} ({hint(kind, KINDS)})")
        try:
            return self._entries[kind, name]
        except KeyError:
            raise ComponentError(self._reason(kind, name)) from None

    def _reason(self, kind: str, name: str) -> str:
        """Why there is no such component."""
        for plugin in self.plugins:
            for fault in plugin.faults:
                if (fault.kind, fault.name) == (kind, name):
                    return f"{fault} of {plugin} is set aside: {fault.text}"
        message = f"unknown {kind} {name!r} ({hint(name, self.names(kind))})"
        if self.broken:
            names = ", ".join(f"{plugin.name} ({plugin.error})" for plugin in self.broken)
            message += f"; plugins that failed to load may have it: {names}"
        nameless = [
            f"{fault} of {plugin} ({fault.error})"
            for plugin in self.plugins
            for fault in plugin.faults
            if not fault.name or fault.kind not in KINDS or not re.fullmatch(NAME, fault.name)
        ]
        if nameless:
            message += f"; components that are set aside may be it: {', '.join(nameless)}"
        if self._left_out:
            message += f"; plugins that were left out may have it: {', '.join(self._left_out)}"
        return message


def _without_duplicates(plugin: Plugin, holders: Mapping[tuple[str, str], Sequence[Plugin]]) -> Plugin:
    """The plugin without the components whose names others have. holders: plugins that register a kind and
    name."""
    kept, faults = [], list(plugin.faults)
    for component in plugin.components:
        others = [each for each in holders[component.kind, component.name] if each is not plugin]
        if not others or plugin.built_in:
            kept.append(component)
            continue
        if any(other.built_in for other in others):
            error = "a built-in component has this name and is used"
            fix = "give it another name"
        else:
            error = f"{' and '.join(map(str, others))} registers it too, so neither is used"
            names = [each.name for each in (plugin, *others)]
            if len(set(names)) < len(names):  # then their packages tell them apart
                names = [each.package for each in (plugin, *others)]
            fix = f"leave one out with {' or '.join(f'--block {each}' for each in sorted(set(names)))}"
        faults.append(Fault(error, fix, component.kind, component.name))
    return replace(plugin, components=tuple(kept), faults=tuple(dict.fromkeys(faults)))

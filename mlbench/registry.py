"""The registry: components by kind and name, each with its plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, OptionError, first_line, hint
from mlbench.plugins import Plugin, load_plugins
from mlbench.provenance import code_hash, libraries_of

if TYPE_CHECKING:
    from mlbench.options import Option, Schema

__all__ = ["Entry", "Registry"]


@dataclass(frozen=True)
class Entry:
    """A registered component and its plugin. Its options class is imported when it is first asked for.

    registry: has the inner components of its options; None for the installed ones."""

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
        return (self.registry or Registry(load_plugins())).get(kind, name)

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
        return (self.registry or Registry(load_plugins())).names(kind)

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

    @cached_property
    def _schema(self) -> Schema:
        # Late: listing components needs no pydantic.
        from mlbench.contracts.options import BASES
        from mlbench.options import Schema

        target = self.component.options
        module_name, _, attribute = target.partition(":")
        plugin = f"plugin {self.plugin.name!r} ({self.plugin.package} {self.plugin.version})"
        try:
            options_class = getattr(import_module(module_name), attribute)
        # Foreign code may raise anything; only cases that need this component fail.
        except (Exception, SystemExit) as error:
            reason = first_line(error)
            raise ComponentError(f"{self} of {plugin} cannot be imported from {target}: {reason}") from error
        try:
            return Schema(options_class, BASES[self.component.kind], owner=str(self))
        except ComponentError as error:
            raise ComponentError(f"{error}; this is a mistake in {plugin}") from None


class Registry:
    """Every component of the given plugins. Immutable.

    Raises ComponentError when two plugins register the same kind and name.
    """

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        entries: dict[tuple[str, str], Entry] = {}
        for plugin in plugins:
            for component in plugin.components:
                key = (component.kind, component.name)
                other = entries.get(key)
                if other is not None:
                    raise ComponentError(
                        f"two plugins register {entries[key]}: "
                        f"{other.plugin.name!r} of {other.plugin.package} and {plugin.name!r} of "
                        f"{plugin.package}; uninstall one, or leave one out with --block NAME"
                    )
                entries[key] = Entry(component, plugin, registry=self)
        self._entries = dict(sorted(entries.items()))
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

    def names(self, kind: str) -> list[str]:
        """Names of all components of a kind, sorted."""
        return list(self._names.get(kind, ()))

    def get(self, kind: str, name: str) -> Entry:
        """The component, or ComponentError with the nearest name and any plugin that failed to load."""
        if kind not in KINDS:
            raise ComponentError(f"unknown kind {kind!r} ({hint(kind, KINDS)})")
        try:
            return self._entries[kind, name]
        except KeyError:
            message = f"unknown {kind} {name!r} ({hint(name, self.names(kind))})"
            if self.broken:
                names = ", ".join(f"{plugin.name} ({plugin.error})" for plugin in self.broken)
                message += f"; plugins that failed to load may have it: {names}"
            raise ComponentError(message) from None

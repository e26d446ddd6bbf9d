"""The registry: (kind, name) to component, with the package that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbench.contracts import KINDS, Advice, Component, DataSource
from mlbench.errors import ComponentError, first_line, hint
from mlbench.plugins import Plugin
from mlbench.provenance import code_hash

if TYPE_CHECKING:
    from mlbench.options import Schema

__all__ = ["Entry", "Registry"]


@dataclass(frozen=True)
class Entry:
    """A registered component and its plugin. Its factory is imported when it is first asked for."""

    component: Component
    plugin: Plugin

    def __str__(self) -> str:
        return f"{self.component.kind} {self.component.name!r}"

    @property
    def schema(self) -> Schema:
        """Options and provided parameters. Raises ComponentError when the factory cannot be imported."""
        return self._schema(self.component.factory)

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` with defaults filled in. Raises OptionError."""
        return self.schema.check(options)

    def build(self, options: Mapping[str, Any], **provided: Any) -> Any:
        """The component itself."""
        return self.schema.build(options, provided)

    def predict(self, options: Mapping[str, Any], **provided: Any) -> Any:
        """What `build` would make, found without building it; None when the component cannot say."""
        if not self.component.predict:
            return None
        return self._schema(self.component.predict).build(options, provided)

    def advise(self, options: Mapping[str, Any], **provided: Any) -> Advice | None:
        """What this component would cost on this machine; None when it has no advice."""
        if not self.component.advise:
            return None
        advice: Advice = self._schema(self.component.advise).build(options, provided)
        return advice

    def source(self, data_root: Path) -> DataSource | None:
        """Where the files of this data set come from; None when none must be had first."""
        if not self.component.data:
            return None
        source: DataSource = self._schema(self.component.data).build({}, {"data_root": data_root})
        return source

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Package, version and a hash of the code, which tells an edited plugin from the old one."""
        return {
            "package": self.plugin.package,
            "version": self.plugin.version,
            "code": code_hash(self.component.factory.partition(":")[0], self.plugin.package),
        }

    @cached_property
    def _schemas(self) -> dict[str, Schema]:
        return {}

    def _schema(self, target: str) -> Schema:
        """The schema of a function "module:name", read once: a suite may have thousands of cases."""
        if target not in self._schemas:
            self._schemas[target] = self._read_schema(target)
        return self._schemas[target]

    def _read_schema(self, target: str) -> Schema:
        from mlbench.options import Schema  # late: to list components takes no pydantic

        module_name, _, attribute = target.partition(":")
        plugin = f"plugin {self.plugin.name!r} ({self.plugin.package} {self.plugin.version})"
        try:
            factory = getattr(import_module(module_name), attribute)
            return Schema(factory, owner=str(self), provides=KINDS[self.component.kind].provides)
        except ComponentError as error:
            raise ComponentError(f"{error}; this is a mistake in {plugin}") from None
        # Importing a factory runs other people's code; only what needs it may fail.
        except (Exception, SystemExit) as error:
            reason = first_line(error)
            raise ComponentError(f"{self} of {plugin} cannot be imported from {target}: {reason}") from error


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
                entries[key] = Entry(component, plugin)
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

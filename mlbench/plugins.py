"""Finds plugins: loads entry points one by one and sets a broken one aside with its error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import EntryPoint, entry_points

import pluggy

from mlbench import hookspecs
from mlbench.contracts import KINDS, Component

__all__ = ["Plugin", "load_plugins", "plugin_manager"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: where it comes from, and its components or the error that stopped it.

    name: the entry point's name. target: what it points at. package, version: its distribution.
    """

    name: str
    target: str
    package: str
    version: str
    components: tuple[Component, ...] = ()
    error: str = ""


def plugin_manager() -> pluggy.PluginManager:
    """A manager that knows mlbench's hooks and no plugin yet."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def load_plugins(
    *, block: Sequence[str] = (), sources: Iterable[EntryPoint] | None = None
) -> tuple[Plugin, ...]:
    """Every installed plugin, sorted by package and name, so that nothing depends on install order.

    block: glob patterns of entry point names that are left out. sources: entry points to load instead of
    the installed ones.
    """
    found = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if sources is None else sources
    plugins = [_load(point) for point in found if not any(fnmatch(point.name, glob) for glob in block)]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.package, plugin.name)))


def _load(point: EntryPoint) -> Plugin:
    package = point.dist.name if point.dist else "(no package)"
    version = point.dist.version if point.dist else "0"
    try:
        components = _components(point)
    # A plugin is other people's code: whatever it raises, the other plugins go on.
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Plugin(point.name, point.value, package, version, error=reason)
    return Plugin(point.name, point.value, package, version, components)


def _components(point: EntryPoint) -> tuple[Component, ...]:
    manager = plugin_manager()
    manager.register(point.load(), name=point.name)
    manager.check_pending()  # a misspelt hook name would otherwise register nothing, silently
    components = [component for batch in manager.hook.mlbench_components() for component in batch]
    for component in components:
        if not isinstance(component, Component):
            raise TypeError(f"mlbench_components gave a {type(component).__name__}, expected Component")
        if component.kind not in KINDS:
            raise ValueError(
                f"component {component.name!r} has the unknown kind {component.kind!r}; "
                f"kinds are {', '.join(KINDS)}"
            )
    return tuple(components)

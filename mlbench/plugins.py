"""Plugins: entry points are loaded one by one, and a broken one is kept with its error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import EntryPoint, entry_points

import pluggy

from mlbench import hookspecs
from mlbench.contracts import CONTRACT, KINDS, Component
from mlbench.errors import first_line, hint

__all__ = ["Plugin", "idle_blocks", "load_plugins", "plugin_manager"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point with its origin, and its components or its error.

    name: of the entry point. target: the module or object that it points at. package, version: its
    distribution."""

    name: str
    target: str
    package: str
    version: str
    components: tuple[Component, ...] = ()
    error: str = ""


def plugin_manager() -> pluggy.PluginManager:
    """A manager with mlbench's hooks and without plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def load_plugins(
    *, block: Sequence[str] = (), sources: Iterable[EntryPoint] | None = None
) -> tuple[Plugin, ...]:
    """Every installed plugin, sorted by package and name, independent of the order of installation.

    block: glob patterns of entry point names to leave out. sources: entry points instead of the installed
    ones."""
    found = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if sources is None else sources
    plugins = [_load(point) for point in found if not any(fnmatch(point.name, glob) for glob in block)]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.package, plugin.name)))


def idle_blocks(block: Sequence[str], *, sources: Iterable[EntryPoint] | None = None) -> list[str]:
    """A line on each of the glob patterns `block` that leaves out no plugin."""
    found = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if sources is None else sources
    names = [point.name for point in found]
    idle = [glob for glob in block if not any(fnmatch(name, glob) for name in names)]
    return [f"no plugin has a name like {glob!r}, so none is blocked ({hint(glob, names)})" for glob in idle]


def _load(point: EntryPoint) -> Plugin:
    package = point.dist.name if point.dist else "(no package)"
    version = point.dist.version if point.dist else "0"
    try:
        components = _components(point)
    # Foreign code may raise anything; the other plugins must still load.
    except (Exception, SystemExit) as error:
        return Plugin(point.name, point.value, package, version, error=first_line(error))
    return Plugin(point.name, point.value, package, version, components)


def _components(point: EntryPoint) -> tuple[Component, ...]:
    manager = plugin_manager()
    try:
        plugin = point.load()
    except ImportError as error:
        if error.name == "mlbench.plugin":
            raise ImportError(f"{error.msg}; this mlbench has contract {CONTRACT}") from None
        raise
    built_for = getattr(plugin, "MLBENCH_CONTRACT", CONTRACT)
    if not isinstance(built_for, int):
        raise TypeError(f"MLBENCH_CONTRACT is {built_for!r}; expected a whole number, such as {CONTRACT}")
    if built_for != CONTRACT:
        advice = "upgrade mlbench" if built_for > CONTRACT else "install a newer version of the plugin"
        raise TypeError(
            f"it is built for contract {built_for} of mlbench and this mlbench has contract {CONTRACT}; "
            f"{advice}"
        )
    manager.register(plugin, name=point.name)
    manager.check_pending()  # else a misspelt hook name would be ignored without an error
    if not manager.get_hookcallers(plugin):
        raise TypeError("no hook in it; mark mlbench_components with mlbench.plugin.hookimpl")
    hook = manager.hook.mlbench_components
    batches = hook()
    if len(batches) < len(hook.get_hookimpls()):  # pluggy leaves None out
        raise TypeError("mlbench_components returned None; expected Components")
    known: dict[tuple[str, str], Component] = {}
    for batch in batches:
        for component in batch:
            _check(component)
            if known.setdefault((component.kind, component.name), component) is not component:
                raise ValueError(f"it registers the {component.kind} {component.name!r} twice")
    return tuple(known.values())


def _check(component: Component) -> None:
    if not isinstance(component, Component):
        raise TypeError(f"mlbench_components returned a {type(component).__name__}; expected Component")
    if component.kind not in KINDS:
        raise ValueError(
            f"component {component.name!r} has the unknown kind {component.kind!r} "
            f"({hint(component.kind, KINDS)})"
        )
    target = component.options
    if not re.fullmatch(r"[\w.]+:\w+", target):
        raise ValueError(
            f"the {component.kind} {component.name!r} points at {target!r}; expected 'module:Class'"
        )

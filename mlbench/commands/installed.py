"""The plugins and components of the running command: which of the installed ones load, and notes on them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mlbench.parameters import PLUGIN_FILES

if TYPE_CHECKING:
    from mlbench.plugins import Plugin
    from mlbench.registry import Registry

__all__ = ["Loading", "command_registry", "installed_plugins", "installed_registry", "note_idle"]

_REGISTRY = "mlbench.registry"


@dataclass(frozen=True, slots=True)
class Loading:
    """Which plugins a command loads: see `mlbench.plugins.load_plugins`."""

    block: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @classmethod
    def chosen(cls, block: tuple[str, ...], built_in_only: bool) -> Loading:
        """By the options of a command and by MLBENCH_PLUGINS."""
        if built_in_only or not os.environ.get("MLBENCH_PLUGINS"):
            return cls(block, () if built_in_only else None)
        from mlbench.plugins import environment_choice

        return cls(block, environment_choice()[1])


def note_idle(loading: Loading) -> None:
    """Note patterns that fit no plugin."""
    if not (loading.block or loading.only):
        return
    from mlbench.plugins import idle_patterns

    lines = idle_patterns(loading.block)
    lines += [
        f"MLBENCH_PLUGINS: {line}" for line in idle_patterns(loading.only or (), then="it chooses none")
    ]
    for line in lines:
        _note(line)


def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins of the running command, with their problems."""
    return command_registry().plugins


def installed_registry() -> Registry:
    """The components of the running command. What is set aside is noted once."""
    registry = command_registry()
    context = click.get_current_context()
    if not context.meta.setdefault(f"{_REGISTRY}.noted", False):
        context.meta[f"{_REGISTRY}.noted"] = True
        for plugin in registry.plugins:
            for line in plugin.notes():
                _note(line)
    return registry


def command_registry() -> Registry:
    """The same without the notes, for commands that show what is set aside."""
    from mlbench.plugin_files import PluginFile, add_plugin_files
    from mlbench.plugins import left_out, load_plugins
    from mlbench.registry import Registry

    context = click.get_current_context()
    if _REGISTRY not in context.meta:
        loading: Loading = context.obj
        block, only = loading.block, loading.only
        unloaded = left_out(block=block, only=only) if loading != Loading() else []
        files = [PluginFile(path, f"--plugin {path}") for path in context.meta.get(PLUGIN_FILES, ())]
        plugins = add_plugin_files(load_plugins(block=block, only=only), files)
        context.meta[_REGISTRY] = Registry(plugins, note=_note, left_out=unloaded)
    return context.meta[_REGISTRY]


def _note(line: str) -> None:
    click.echo(f"note: {line}", err=True)

"""Installed plugins and components, without those that --block excludes, with the files of --plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlbench.parameters import PLUGIN_FILES

if TYPE_CHECKING:
    from mlbench.plugins import Plugin
    from mlbench.registry import Registry

__all__ = ["installed_plugins", "installed_registry"]


def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins of the running command."""
    from mlbench.plugin_files import PluginFile, add_plugin_files
    from mlbench.plugins import load_plugins

    context = click.get_current_context()
    files = [PluginFile(path, f"--plugin {path}") for path in context.meta.get(PLUGIN_FILES, ())]
    return add_plugin_files(load_plugins(block=context.obj), files)


def installed_registry() -> Registry:
    """The components of the running command."""
    from mlbench.registry import Registry

    return Registry(installed_plugins())

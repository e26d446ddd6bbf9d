"""Installed plugins and components, without those that --block excludes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlbench.plugins import Plugin
    from mlbench.registry import Registry

__all__ = ["installed_plugins", "installed_registry"]


def installed_plugins() -> tuple[Plugin, ...]:
    """The plugins of the running command."""
    from mlbench.plugins import load_plugins

    return load_plugins(block=click.get_current_context().obj)


def installed_registry() -> Registry:
    """The components of the running command."""
    from mlbench.registry import Registry

    return Registry(installed_plugins())

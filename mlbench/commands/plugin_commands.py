"""The commands `mlbench plugins` and `mlbench plugins doctor`."""

from __future__ import annotations

import json
import sys

import click

from mlbench.commands.installed import command_registry, installed_plugins
from mlbench.parameters import json_option, plugin_option

__all__ = ["plugins"]


@click.group(invoke_without_command=True)
@plugin_option
@json_option
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """Show installed plugins, with the errors of those that are set aside."""
    if context.invoked_subcommand is not None:
        return
    from mlbench.commands.listing import plugins_json, plugins_table
    from mlbench.table import print_table

    found = installed_plugins()
    if as_json:
        click.echo(plugins_json(found))
    else:
        print_table(plugins_table(found))


@plugins.command("doctor")
@plugin_option
@json_option
def plugins_doctor(as_json: bool) -> None:
    """Import every third-party component, and show what is wrong with the plugins and how to mend it.

    Exits with code 1 if something is wrong."""
    from mlbench.commands.plugin_doctor import (
        plugin_examination,
        plugin_examination_table,
        plugin_problems,
    )
    from mlbench.table import print_table

    examined = plugin_examination(command_registry())
    if as_json:
        click.echo(json.dumps(examined, indent=1, ensure_ascii=False))
    else:
        print_table(plugin_examination_table(examined))
        for line in plugin_problems(examined):
            click.echo(line)
    if any(each["problems"] for each in examined):
        sys.exit(1)

"""The command `mlbench plugin new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mlbench.commands.installed import installed_registry
from mlbench.contracts import KINDS

__all__ = ["plugin"]

_Kind = click.Choice(list(KINDS))


@click.group()
def plugin() -> None:
    """Write a plugin package."""


@plugin.command()
@click.argument("name")
@click.option("--kind", type=_Kind, required=True, help="Kind of the component.")
@click.option("--with", "more", type=_Kind, multiple=True, help="Another component, of this kind.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to write; default NAME.")
def new(name: str, kind: str, more: tuple[str, ...], output: Path | None) -> None:
    """Write a package NAME with a component that works, its tests, a suite and a workflow for CI."""
    from mlbench.commands.plugin_package import PluginPackage, write_package

    kinds = (kind, *more)
    if twice := [each for each in KINDS if kinds.count(each) > 1]:
        raise click.UsageError(
            f"--with {twice[0]}: a new package has one component of a kind; add the others to it by hand"
        )
    package = PluginPackage(name, kinds)
    package.check(installed_registry())
    folder = output or Path(name)
    write_package(package, folder)
    for each in package.kinds:
        click.echo(f"{each} {package.module}: {folder / package.module_of(each)}")
    place = shlex.quote(str(folder))
    click.echo(f"{folder} written; next:")
    click.echo(f"  pip install -e {place}")
    click.echo(f"  python -m pytest {place}")
    click.echo(f"  mlbench run {shlex.quote(str(folder / 'suite.yaml'))}")

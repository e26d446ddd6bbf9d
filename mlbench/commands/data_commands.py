"""The commands `mlbench data list|fetch|check`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlbench.commands.installed import installed_registry
from mlbench.parameters import json_option, plugin_option

if TYPE_CHECKING:
    from mlbench.commands.data import NamedSource
    from mlbench.contracts import DataProgress

__all__ = ["data"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def data() -> None:
    """Data sets by name: list them, fetch and check their files."""


def _root(function: F) -> F:
    root = click.option(
        "--root", type=click.Path(path_type=Path, file_okay=False), callback=_absolute, metavar="FOLDER",
        help="Folder of the data; default MLBENCH_DATA, else this folder.",
    )  # fmt: skip
    return root(plugin_option(function))


def _absolute(context: click.Context, parameter: click.Parameter, root: Path | None) -> Path:
    return (root or Path(os.environ.get("MLBENCH_DATA") or ".")).expanduser().absolute()


def _source(root: Path, name: str) -> NamedSource:
    from mlbench.commands.data import find_source

    return find_source(installed_registry(), root, name)


@contextmanager
def _progress(name: str) -> Iterator[DataProgress]:
    """A progress bar on a terminal, elsewhere one line per stage."""
    from mlbench.commands.progress import RunProgress
    from mlbench.console import open_console

    console = open_console(stderr=True)
    printed: set[str] = set()

    def report(what: str, done: int, total: int) -> None:
        bar.stage(what, done, total)
        if what not in printed and not console.is_terminal:
            click.echo(f"{name}: {what}", err=True)
        printed.add(what)

    with RunProgress(console, name) as bar:
        yield report


@data.command("list")
@_root
@json_option
def list_sources(root: Path, as_json: bool) -> None:
    """List data sets with files to fetch, and their state."""
    from mlbench.commands.data import sources, sources_json, sources_table
    from mlbench.table import print_table

    found = list(sources(installed_registry(), root))
    if as_json:
        click.echo(sources_json(found))
    else:
        print_table(sources_table(found))


@data.command()
@click.argument("name")
@_root
def fetch(name: str, root: Path) -> None:
    """Fetch the files of the data set NAME, or print how to get them."""
    from mlbench.commands.data import fetch as get

    named = _source(root, name)
    click.echo(f"{name}: {named.source.home}; licence: {named.source.licence}", err=True)
    with _progress(name) as progress:
        get(named, progress)
    click.echo(f"{name}: ready in {named.source.folder}; next: mlbench data check {name} --root {root}")


@data.command()
@click.argument("name")
@_root
@json_option
def check(name: str, root: Path, as_json: bool) -> None:
    """Check every file of the data set NAME. Exit code 1 when it differs from the published one."""
    from mlbench.commands.data import check_json, check_table
    from mlbench.table import print_table

    named = _source(root, name)
    with _progress(name) as progress:
        found = named.source.check(progress)
    if as_json:
        click.echo(check_json(named, found))
    elif found.parts:
        print_table(check_table(found))
    for problem in found.problems:
        click.echo(f"mlbench: {name}: {problem}", err=True)
    if found.problems:
        sys.exit(1)
    click.echo(f"{name}: fine", err=True)

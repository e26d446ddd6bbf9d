"""The commands `mlbench data list|fetch|check`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from mlbench.commands.installed import installed_registry
from mlbench.inspection.findings import NEAR
from mlbench.parameters import FiniteRange, json_option, plugin_option, results_option, size_option

if TYPE_CHECKING:
    from mlbench.commands.data import NamedSource
    from mlbench.commands.data_check import Target
    from mlbench.contracts import DataProgress

__all__ = ["data"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def data() -> None:
    """Data sets by name: list and fetch them; check any images."""


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
@click.argument("what", metavar="SUITE|FOLDER|MANIFEST|NAME")
@_root
@size_option
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Of a suite: set a key.")
@click.option("--cases", default="*", metavar="GLOB", help="Of a suite: only data of these cases.")
@click.option("--limit", type=click.IntRange(min=8), metavar="N", help="Of a suite: N images a split.")
@results_option
@click.option("--level", type=click.IntRange(1), metavar="N", help="Of a folder: depth of the classes.")
@click.option(
    "--near", type=FiniteRange(0, 1, min_open=True), default=NEAR, show_default=True,
    help="Cosine of near duplicates.",
)  # fmt: skip
@click.option("--no-near", is_flag=True, help="Search copies alone, which is quicker.")
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings, too.")
@click.option("--device", default="auto", metavar="NAME", help="For near duplicates: auto, cpu, cuda.")
@json_option
def check(what: str, root: Path, as_json: bool, **options: Any) -> None:
    """Check images for copies, near duplicates, leaks across splits and damaged files.

    Of a SUITE with its splits, a FOLDER or a MANIFEST. Of the published data set NAME, every file is compared
    with the published counts. Exit code 1 for errors.
    """
    from mlbench.commands.data_check import target_of

    registry = installed_registry()
    target = target_of(what, registry)
    _check_options(click.get_current_context(), target)
    if target == "data set":
        if Path(what).is_dir():
            click.echo(f"note: the data set {what}; for the folder write ./{what}", err=True)
        _check_published(root, what, as_json)
    else:
        _check_images(what, target, as_json, options)


#: Options of `data check` that go with some targets alone.
_ONLY: Mapping[str, tuple[str, ...]] = {
    "root": ("data set",),
    "level": ("folder",),
    **dict.fromkeys(("size", "overrides", "cases", "limit", "results"), ("suite",)),
    **dict.fromkeys(("near", "no_near", "strict", "device"), ("suite", "folder", "manifest")),
}


def _check_options(context: click.Context, target: str) -> None:
    """Raise UsageError for an option that does not go with the target."""
    flags = {each.name: each.opts[0] for each in context.command.params}
    for name, targets in _ONLY.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and target not in targets:
            raise click.UsageError(f"{flags[name]} is for a {' or '.join(targets)}, and this is a {target}")


def _check_published(root: Path, name: str, as_json: bool) -> None:
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


def _check_images(what: str, target: Target, as_json: bool, options: Mapping[str, Any]) -> None:
    from mlbench.commands.data_check import Inspection, check_files, check_suite, facts_table, findings_lines
    from mlbench.environment import find_device
    from mlbench.inspection.findings import findings_json
    from mlbench.planning.request import PlanRequest
    from mlbench.table import print_table

    place, kept = Path(what).expanduser(), None
    near = None if options["no_near"] else options["near"]
    with _progress(place.name) as progress:
        settings = Inspection(installed_registry(), near, find_device(options["device"]).name, progress)
        if target == "suite":
            chosen = {name: options[name] for name in ("size", "overrides", "cases", "limit")}
            found, kept = check_suite(place, PlanRequest(**chosen), options["results"], settings)
        else:
            found = check_files(place, target, options["level"], settings)
    if as_json:
        click.echo(findings_json(found))
    for each in found:
        if not as_json:
            print_table(facts_table(each))
            for line in findings_lines(each):
                click.echo(line)
        for note in each.notes:
            click.echo(f"note: {note}", err=True)
    errors, warnings = (sum(len(each.of_level(level)) for each in found) for level in ("error", "warning"))
    verdict = f"errors: {errors}, warnings: {warnings}" if errors or warnings else "fine"
    click.echo(f"{what}: {verdict}{f'; kept in {kept}' if kept else ''}", err=True)
    if errors or (warnings and options["strict"]):
        sys.exit(1)

"""The commands `mlbench list` and `mlbench show`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from mlbench.commands.installed import installed_registry
from mlbench.contracts import KINDS
from mlbench.errors import ComponentError, SuiteError, hint
from mlbench.parameters import json_option, plugin_option

if TYPE_CHECKING:
    from mlbench.registry import Entry

__all__ = ["list_components", "show"]


def _check_kind(kind: str) -> None:
    """Raise SuiteError for an unknown kind."""
    if kind not in KINDS:
        raise SuiteError(f"unknown kind {kind!r} ({hint(kind, KINDS)})")


@click.command("list")
@click.argument("kind", required=False)
@click.option("--search", "pattern", metavar="GLOB", help="Only these, and models of libraries: 'eff*b0'.")
@click.option("--markdown", is_flag=True, help="Print a page in Markdown with every option.")
@plugin_option
@json_option
def list_components(kind: str | None, pattern: str | None, markdown: bool, as_json: bool) -> None:
    """List components, all or of one KIND."""
    if markdown and (as_json or pattern is not None):
        raise click.UsageError("--markdown goes with neither --json nor --search")
    from mlbench.commands.listing import components_json, components_table
    from mlbench.table import print_table

    if kind is not None:
        _check_kind(kind)
    registry = installed_registry()
    entries = [entry for entry in registry if kind in (None, entry.component.kind)]
    if pattern is not None:
        _print_matches(entries, pattern, registry.note, as_json=as_json)
    elif markdown:
        from mlbench.commands.reference import components_markdown

        click.echo(components_markdown(entries), nl=False)
    elif as_json:
        click.echo(components_json(entries))
    else:
        print_table(components_table(entries))


def _print_matches(
    entries: Sequence[Entry], pattern: str, note: Callable[[str], None], *, as_json: bool
) -> None:
    from mlbench.commands.search import matches_table, nearest, search
    from mlbench.table import print_table

    found, names = search(entries, pattern, note)
    if not found:
        near = ", ".join(map(repr, nearest(pattern, names)))
        raise ComponentError(
            f"nothing matches {pattern!r}" + (f"; the nearest names are {near}" if near else "")
        )
    if as_json:
        click.echo(json.dumps([match._asdict() for match in found], indent=1, ensure_ascii=False))
    else:
        print_table(matches_table(found))


@click.command()
@click.argument("kind")
@click.argument("name", required=False)
@plugin_option
@json_option
def show(kind: str, name: str | None, as_json: bool) -> None:
    """Show a component, with its options and formula; without a NAME, what components of a KIND must have."""
    from mlbench.commands.kinds import KindContract, kind_text
    from mlbench.commands.listing import component_json, component_text
    from mlbench.commands.prose import page_width

    _check_kind(kind)
    registry = installed_registry()
    if name is None:
        found, names = KindContract.of(kind), registry.names(kind)
        plain = json.dumps({**found.plain(), "components": names}, indent=1, ensure_ascii=False)
        click.echo(plain if as_json else kind_text(found, names, page_width()))
        return
    entry = registry.get(kind, name)
    click.echo(component_json(entry) if as_json else component_text(entry, page_width()))

"""`python -m mlbench.testing`: checks of installed components in a shell, or the suite of all components.

Exit codes: 0 all checks passed, 1 a check failed or the components cannot be found, 2 usage.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, MlbenchError, SuiteError, hint
from mlbench.planning.document import parse_value
from mlbench.plugins import environment_choice, load_plugins
from mlbench.registry import Entry, Registry
from mlbench.testing import checks
from mlbench.testing.catalogue import catalogue_suite, example_options

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.option("--kind", help="Only components of this kind, such as loss.")
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="OPTION=VALUE",
    help="An option of the component, as in a suite.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="CHECK=REASON",
    help="A check that fails, and why; an error once it passes.",
)
def main(name: str | None, kind: str | None, options: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Run the checks of NAME, one line each: a component (cosface, or loss/cosface), or a plugin or package
    for all of its components. Without NAME, print a suite with a case for every installed component.

    Without --set, built-in components with required options are checked with examples of them."""
    try:
        block, only = environment_choice()
        registry = Registry(load_plugins(block=block, only=only))
        for plugin in registry.broken:
            where = f"{plugin.name!r} ({plugin.package} {plugin.version})"
            click.echo(f"note: plugin {where} cannot be loaded: {plugin.error}", err=True)
        if name is None:
            if kind or options or expected:
                raise SuiteError("--kind, --set and --expect need the NAME of a component")
            sys.stdout.write(catalogue_suite(registry))
            return
        given = {key: parse_value(value, f"--set {key}={value}") for key, value in _pairs(options, "--set")}
        failed = _run(find(registry, name, kind), given, dict(_pairs(expected, "--expect")))
    except MlbenchError as error:
        click.echo(f"mlbench.testing: {error}", err=True)
        sys.exit(2 if isinstance(error, SuiteError) else 1)
    sys.exit(1 if failed else 0)


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise SuiteError(f"{option} {text}: expected NAME=VALUE")
        pairs.append((key, value))
    return pairs


def find(registry: Registry, name: str, kind: str | None = None) -> list[Entry]:
    """Components with this name (or "kind/name"), and those of a plugin or package with it; with `kind`, of
    this kind alone. Raises ComponentError where there is none, naming a plugin that failed to load."""
    if "/" in name:
        first, _, rest = name.partition("/")
        return [registry.get(first.strip(), rest.strip())]
    if kind is not None and kind not in KINDS:
        raise ComponentError(f"unknown kind {kind!r} ({hint(kind, KINDS)})")
    plain = _plain(name)
    for plugin in registry.broken:
        if plain in (_plain(plugin.name), _plain(plugin.package)):
            raise ComponentError(
                f"plugin {plugin.name!r} of {plugin.package} {plugin.version} cannot be loaded: "
                f"{plugin.error}; mend {plugin.target}, then run this again"
            )
    every = [entry for entry in registry if kind in (None, entry.component.kind)]
    found = [
        entry
        for entry in every
        if name == entry.component.name or plain in (_plain(entry.plugin.name), _plain(entry.plugin.package))
    ]
    if not found:
        names = {
            text
            for entry in every
            for text in (entry.component.name, entry.plugin.name, entry.plugin.package)
        }
        message = f"no component, plugin or package is called {name!r} ({hint(name, names)})"
        if kind is not None:
            message = (
                f"no {kind}, and no plugin or package with one, is called {name!r} ({hint(name, names)})"
            )
        if registry.broken:
            broken = ", ".join(f"{plugin.name} ({plugin.error})" for plugin in registry.broken)
            message += f"; plugins that failed to load may have it: {broken}"
        raise ComponentError(message)
    return found


def _plain(name: str) -> str:
    """The name of a package or plugin as package indices compare it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _run(entries: Sequence[Entry], given: Mapping[str, Any], expected: Mapping[str, str]) -> bool:
    """Run and print the checks. Returns whether one failed."""
    if len(entries) > 1 and (given or expected):
        names = ", ".join(f"{entry.component.kind}/{entry.component.name}" for entry in entries)
        raise ComponentError(
            f"--set and --expect need one component, and these match: {names}; name one of them"
        )
    states: Counter[str] = Counter()
    for entry in entries:
        for options in [dict(given)] if given else example_options(entry.component):
            states.update(_run_one(entry, options, expected))
    text = ", ".join(
        f"{count} {state}{'s' * _plural(state, count)}" for state, count in sorted(states.items())
    )
    click.echo(text)
    return bool(states["failed"])


def _plural(state: str, count: int) -> bool:
    return state.endswith("failure") and count > 1


def _run_one(entry: Entry, options: Mapping[str, Any], expected: Mapping[str, str]) -> list[str]:
    """Print the checks of a component with these options. Returns the state of each."""
    component: Component = entry.component
    made = checks(component, expected_failures=expected, **options)
    text = ", ".join(f"{name}={value}" for name, value in options.items())
    click.echo(
        f"{component.kind} {component.name} ({entry.plugin.package} {entry.plugin.version})"
        f"{f' with {text}' if text else ''}"
    )
    states: list[str] = []
    for check in made:
        state, message = check.outcome()
        states.append(state)
        message = " ".join(message.split())
        click.echo(f"  {state:<7} {check.name}{f': {message}' if message else ''}")
    return states

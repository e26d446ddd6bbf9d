"""`python -m mlbench.testing`: checks of installed components in a shell, or the suite of all components.

Exit codes: 0 all checks passed, 1 a check failed or the components cannot be found, 2 usage.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, MlbenchError, SuiteError, hint
from mlbench.local_modules import file_of
from mlbench.planning.document import parse_value
from mlbench.plugin_files import PluginFile, add_plugin_files
from mlbench.plugins import Plugin, environment_choice, load_plugins
from mlbench.registration import Fault
from mlbench.registry import Entry, Registry
from mlbench.testing import checks_of
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
@click.option(
    "--plugin",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Load the components of a Python file too; NAME may be one of them.",
)
def main(
    name: str | None,
    kind: str | None,
    options: tuple[str, ...],
    expected: tuple[str, ...],
    files: tuple[Path, ...],
) -> None:
    """Run the checks of NAME, one line each: a component (cosface, or loss/cosface), or a plugin, package
    or Python file for all of its components. Without NAME, print a suite with a case for every installed
    component.

    Without --set, built-in components with required options are checked with examples of them."""
    try:
        failed = _main(name, kind, options, expected, files)
    except MlbenchError as error:
        click.echo(f"mlbench.testing: {error}", err=True)
        sys.exit(2 if isinstance(error, SuiteError) else 1)
    sys.exit(1 if failed else 0)


def _main(
    name: str | None,
    kind: str | None,
    options: Sequence[str],
    expected: Sequence[str],
    paths: Sequence[Path] = (),
) -> bool:
    """Returns whether a check failed."""
    block, only = environment_choice()
    files = [PluginFile(path, f"--plugin {path}") for path in paths]
    if name is not None and name.endswith(".py"):
        files.append(PluginFile(Path(name), name))
        name = str(files[-1].path)
    plugins = add_plugin_files(load_plugins(block=block, only=only), files)
    registry = Registry(plugins)
    aside = [] if name is None else list(_set_aside(registry, name, kind))
    for line in (note for plugin in registry.plugins for note in plugin.notes() if note not in aside):
        click.echo(f"note: {line}", err=True)
    if name is None:
        if kind or options or expected:
            raise SuiteError("--kind, --set and --expect need the NAME of a component")
        sys.stdout.write(catalogue_suite(registry))
        return False
    given = {key: parse_value(value, f"--set {key}={value}") for key, value in _pairs(options, "--set")}
    entries = find(registry, name, kind, needed=not aside)
    for line in aside:
        click.echo(f"failed  {line}")
    return _run(entries, given, dict(_pairs(expected, "--expect"))) or bool(aside)


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise SuiteError(f"{option} {text}: expected NAME=VALUE")
        pairs.append((key, value))
    return pairs


def find(registry: Registry, name: str, kind: str | None = None, *, needed: bool = True) -> list[Entry]:
    """Components with this name (or "kind/name"), and those of a plugin, package or file with it; with
    `kind`, of this kind alone. Raises ComponentError where there is none, if one is `needed`."""
    if "/" in name and not name.endswith(".py"):
        first, _, rest = name.partition("/")
        if first.strip() not in KINDS or not rest.strip():
            near = f" (before the slash: {hint(first, KINDS)})" if rest else ""
            raise ComponentError(
                f"{name!r} is no NAME; give a component (cosface, or loss/cosface), a plugin, a package or a "
                f"Python file{_folder(name) or near}"
            )
        return [registry.get(first.strip(), rest.strip())]
    if kind is not None and kind not in KINDS:
        raise ComponentError(f"unknown kind {kind!r} ({hint(kind, KINDS)})")
    every = [entry for entry in registry if kind in (None, entry.component.kind)]
    found = [each for each in every if name == each.component.name or _is_called(each.plugin, name)]
    if needed and not found:
        names = {
            text
            for entry in every
            for text in (entry.component.name, entry.plugin.name, entry.plugin.package)
        }
        what = (
            "component, plugin or package" if kind is None else f"{kind}, and no plugin or package with one,"
        )
        message = f"no {what} is called {name!r} ({hint(name, names)}){_folder(name)}"
        if registry.broken:
            broken = ", ".join(f"{plugin.name} ({plugin.error})" for plugin in registry.broken)
            message += f"; plugins that failed to load may have it: {broken}"
        raise ComponentError(message)
    return found


def _folder(name: str) -> str:
    """What to say about a name that is a folder's; else nothing."""
    if not Path(name).is_dir():
        return ""
    return "; this is a folder: install the package in it and give the package's name"


def _set_aside(registry: Registry, name: str, kind: str | None) -> Iterator[str]:
    """Notes on the plugin or component with this name, where it is set aside with an error."""
    for plugin in registry.plugins:
        whole = _is_called(plugin, name)
        if whole and plugin.error:
            yield f"{plugin} is set aside: {Fault(plugin.error, plugin.fix).text}"
        for fault in plugin.faults:
            # Where a component of this name is in use, such as a built-in one, that one is meant.
            named = fault.name == name and name not in registry.names(fault.kind)
            if (whole or named) and kind in (None, fault.kind):
                yield f"{fault} of {plugin} is set aside: {fault.text}"


def _is_called(plugin: Plugin, name: str) -> bool:
    """Whether this is the name of the plugin or of its package."""
    return _plain(name) in (_plain(plugin.name), _plain(plugin.package))


def _plain(name: str) -> str:
    """The name of a package or plugin as package indices compare it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _run(entries: Sequence[Entry], given: Mapping[str, Any], expected: Mapping[str, str]) -> bool:
    """Run and print the checks. Returns whether one failed."""
    if len(entries) > 1 and (given or expected):
        names = ", ".join(f"{entry.component.kind}/{entry.component.name}" for entry in entries)
        file = file_of(entries[0].plugin.target)
        how = f", with --plugin {entries[0].plugin.name}" if file else ""
        raise ComponentError(
            f"--set and --expect need one component, and these match: {names}; name one of them{how}"
        )
    states: Counter[str] = Counter()
    for entry in entries:
        for options in [dict(given)] if given else example_options(entry.component):
            states.update(_run_one(entry, options, expected))
    text = ", ".join(
        f"{count} {state}{'s' * _plural(state, count)}" for state, count in sorted(states.items())
    )
    if text:
        click.echo(text)
    return bool(states["failed"])


def _plural(state: str, count: int) -> bool:
    return state.endswith("failure") and count > 1


def _run_one(entry: Entry, options: Mapping[str, Any], expected: Mapping[str, str]) -> list[str]:
    """Print the checks of a component with these options. Returns the state of each."""
    component: Component = entry.component
    made = checks_of(entry, options, expected)
    text = ", ".join(f"{name}={value}" for name, value in options.items())
    click.echo(f"{component.kind} {component.name} ({entry.plugin.origin}){f' with {text}' if text else ''}")
    states: list[str] = []
    for check in made:
        state, message = check.outcome()
        states.append(state)
        message = " ".join(message.split())
        click.echo(f"  {state:<7} {check.name}{f': {message}' if message else ''}")
    return states

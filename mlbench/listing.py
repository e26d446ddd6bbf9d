"""Listings: components, plugins and plans as tables, text and JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mlbench.contracts import KINDS
from mlbench.plan import Plan
from mlbench.registry import Entry, Registry

__all__ = [
    "component_json",
    "component_text",
    "components_json",
    "components_table",
    "plan_json",
    "plan_table",
    "plugins_json",
    "plugins_table",
]


def components_table(entries: Sequence[Entry]) -> Table:
    """Components with kind, name, summary, source and package."""
    table = _table("kind", "name", "what it is", "source", "package")
    for entry in entries:
        component, plugin = entry.component, entry.plugin
        package = f"{plugin.package} {plugin.version}"
        table.add_row(component.kind, component.name, component.summary, component.source, package)
    return table


def components_json(entries: Sequence[Entry]) -> str:
    """The same as JSON."""
    return _dump([_component(entry) for entry in entries])


def component_text(entry: Entry) -> str:
    """One component in full: summary, source, package, options, and its factory's documentation."""
    component, plugin = entry.component, entry.plugin
    lines = [
        f"{component.kind} {component.name}: {component.summary}",
        f"source:   {component.source or 'none stated'}",
        f"package:  {plugin.package} {plugin.version} (plugin {plugin.name})",
        f"factory:  {component.factory}",
        f"provided: {', '.join(entry.schema.provided) or 'nothing'} (of: "
        f"{', '.join(KINDS[component.kind].provides) or 'nothing'})",
        "options:" if entry.schema.options else "options:  none",
    ]
    for option in entry.schema.options:
        default = "required" if option.default is None else f"default {option.default}"
        lines.append(f"  {option.name}: {option.type}, {default}")
    documentation = inspect.getdoc(entry.schema.factory)
    return "\n".join([*lines, *(["", documentation] if documentation else [])])


def component_json(entry: Entry) -> str:
    """The same as JSON."""
    options = [asdict(option) for option in entry.schema.options]
    for option in options:
        option["required"] = option["default"] is None
        option["default"] = None if option["required"] else json.loads(option["default"])
    return _dump({**_component(entry), "options": options, "provided": list(entry.schema.provided)})


def plugins_table(registry: Registry) -> Table:
    """Plugins with their components or their error."""
    table = _table("plugin", "package", "components", "error")
    for plugin in registry.plugins:
        package = f"{plugin.package} {plugin.version}"
        table.add_row(plugin.name, package, str(len(plugin.components)), plugin.error)
    return table


def plugins_json(registry: Registry) -> str:
    """The same as JSON."""
    return _dump([asdict(plugin) for plugin in registry.plugins])


def plan_table(plan: Plan) -> Table:
    """Cases with what training them will take; "?" where a component cannot say before it is built."""
    table = _table("case", "seed", "classes", "images", "steps", "parameters", "MB", "class centres", "record")
    for column in table.columns[2:8]:
        column.justify = "right"
    for case in plan.cases:
        forecast = case.forecast
        table.add_row(
            case.name,
            str(case.seed),
            f"{forecast.classes:,}",
            f"{forecast.images:,}",
            f"{forecast.steps:,}",
            _count(forecast.parameters),
            "?" if forecast.parameters is None else f"{4 * forecast.parameters / 1e6:.2f}",
            _count(forecast.centres),
            case.key,
        )
    return table


def plan_json(plan: Plan) -> str:
    """The same as JSON, with each case's full settings."""
    return _dump(
        [
            {
                "suite": case.suite,
                "case": case.name,
                "seed": case.seed,
                "fingerprint": case.fingerprint,
                "forecast": asdict(case.forecast),
                "settings": case.spec.plain(),
            }
            for case in plan.cases
        ]
    )


def _component(entry: Entry) -> dict[str, Any]:
    plugin = entry.plugin
    return {
        **asdict(entry.component),
        "plugin": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
    }


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("kind", "name", "case", "plugin"))
    return table


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)

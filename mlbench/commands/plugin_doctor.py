"""The doctor of plugins: what is wrong with each, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlbench.contracts import CONTRACT
from mlbench.errors import ComponentError
from mlbench.registry import Registry
from mlbench.table import Table

__all__ = ["plugin_examination", "plugin_examination_table", "plugin_problems"]


def plugin_examination(registry: Registry) -> list[dict[str, Any]]:
    """Every plugin with its origin and its problems. The options classes of third-party plugins are imported.

    "contract" is None where the plugin states none, which stands for the current version. Every problem has
    "component" ("" where it is about the whole plugin), "error" and "fix"."""
    lazy: dict[str, list[dict[str, str]]] = {}
    for entry in registry:
        if entry.plugin.built_in:
            continue
        try:
            _ = entry.options_class
        except ComponentError as error:
            fix = f"correct {entry.component.options}, or do not use this {entry.component.kind}"
            found = {"component": str(entry), "error": str(error), "fix": fix}
            lazy.setdefault(str(entry.plugin), []).append(found)
    return [
        {
            "package": plugin.package,
            "version": plugin.version,
            "plugin": plugin.name,
            "target": plugin.target,
            "contract": plugin.contract,
            "components": len(plugin.components),
            "seconds": round(plugin.seconds, 3),
            "problems": [
                *(
                    {"component": str(each) if each.kind else "", "error": each.error, "fix": each.fix}
                    for each in plugin.problems()
                ),
                *lazy.get(str(plugin), ()),
            ],
        }
        for plugin in registry.plugins
    ]


def plugin_examination_table(examined: list[dict[str, Any]]) -> Table:
    """The plugins with the numbers of their problems."""
    rows = [
        (
            each["plugin"],
            f"{each['package']} {each['version']}",
            str(each["contract"] or f"({CONTRACT})"),
            str(each["components"]),
            f"{each['seconds']:.2f}",
            str(len(each["problems"]) or ""),
        )
        for each in examined
    ]
    numbers = ("contract", "components", "seconds", "problems")
    return Table(("plugin", "package", *numbers), rows, numbers=numbers)


def plugin_problems(examined: list[dict[str, Any]]) -> Iterator[str]:
    """Every problem in one line: plugin and component, error, and what to do."""
    for each in examined:
        for problem in each["problems"]:
            # The error of an import names its component.
            known = problem["error"].startswith(problem["component"])
            what = "" if known else f"{problem['component']}: "
            yield f"{each['plugin']}: {what}{problem['error']}; {problem['fix']}"

"""Listings: components, plugins and plans as tables, text and JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlbench.commands.prose import filled, formula_of
from mlbench.table import Table

if TYPE_CHECKING:
    from mlbench.planning.plan import Plan
    from mlbench.plugins import Plugin
    from mlbench.records.store import Store
    from mlbench.registry import Entry

__all__ = [
    "component_json",
    "component_text",
    "components_json",
    "components_table",
    "option_list",
    "plan_duration",
    "plan_json",
    "plan_table",
    "plugins_json",
    "plugins_table",
]


def components_table(entries: Sequence[Entry]) -> Table:
    """Components with kind, name, summary and package; each kind is printed once."""
    rows = []
    kind = ""
    for entry in entries:
        component = entry.component
        shown = "" if component.kind == kind else component.kind
        kind = component.kind
        rows.append((shown, component.name, component.summary, entry.plugin.package))
    return Table(("kind", "name", "what it is", "package"), rows)


def components_json(entries: Sequence[Entry]) -> str:
    """The components as JSON."""
    return _dump([_component(entry) for entry in entries])


def component_text(entry: Entry, width: int = 80) -> str:
    """One component in full: summary, source, package, documentation, options, and what its kind asks."""
    from mlbench.commands.kinds import KindContract, duty_lines, given_lines

    component, plugin, options = entry.component, entry.plugin, entry.options
    lines = [
        *filled(f"{component.kind} {component.name}: {component.summary}", width),
        f"source:   {component.source or 'none stated'}",
        f"package:  {plugin.package} {plugin.version} (plugin {plugin.name})",
        f"class:    {component.options}",
        "",
        *filled(inspect.getdoc(entry.options_class) or "", width),
        "",
        "Options:" if options else "No options.",
    ]
    for option in options:
        default = "required" if option.default is None else f"default {option.default}"
        lines += filled(f"{option.name}: {option.type}, {default}", width, "  ")
        lines += filled(option.description, width, 6 * " ")
    if brought := entry.options_class.settings():
        lines += [
            "",
            "Settings of other sections, where the suite does not set them:",
            *_settings_lines(brought),
        ]
    kind = KindContract.of(component.kind)
    lines += ["", f"Kind {kind.kind}: {kind.summary} (more: mlbench show {kind.kind})"]
    lines += [*given_lines(kind, width), f"returns:  {kind.returns}", *duty_lines(kind, width)]
    return "\n".join(lines)


def _settings_lines(sections: Mapping[str, Any]) -> list[str]:
    """Sections as in a suite file, one line each."""
    from mlbench.planning.document import flow_text

    width = max(map(len, sections))
    return [f"  {name + ':':{width + 1}} {flow_text(value)}" for name, value in sections.items()]


def component_json(entry: Entry) -> str:
    """One component as JSON, with the contract of its kind."""
    from mlbench.commands.kinds import KindContract

    documentation = inspect.getdoc(entry.options_class) or ""
    data = {
        **_component(entry),
        "class": entry.component.options,
        "documentation": documentation,
        "formula": formula_of(documentation),
        "options": option_list(entry),
        "settings": entry.options_class.settings(),
        "contract": KindContract.of(entry.component.kind).plain(),
    }
    return _dump(data)


def option_list(entry: Entry) -> list[dict[str, Any]]:
    """The options of a component as plain data; `default` is None where one is required."""
    options = [asdict(option) for option in entry.options]
    for option in options:
        option["required"] = option["default"] is None
        option["default"] = None if option["required"] else json.loads(option["default"])
    return options


def plugins_table(plugins: Sequence[Plugin]) -> Table:
    """Plugins with their components, the seconds of their import, and what is set aside."""
    rows = []
    for plugin in plugins:
        errors = [f"{each}: {each.error}" if each.kind else each.error for each in plugin.problems()]
        package = f"{plugin.package} {plugin.version}"
        seconds = f"{plugin.seconds:.2f}"
        rows.append((plugin.name, package, str(len(plugin.components)), seconds, "; ".join(errors)))
    headings = ("plugin", "package", "components", "seconds", "error")
    return Table(headings, rows, numbers=("components", "seconds"))


def plugins_json(plugins: Sequence[Plugin]) -> str:
    """The plugins as JSON."""
    return _dump([asdict(plugin) for plugin in plugins])


def plan_table(plan: Plan) -> Table:
    """Cases with the predicted sizes and steps of each seed; "?" where only building can tell."""
    seeds: dict[str, list[int]] = {}
    for case in plan.cases:
        seeds.setdefault(case.name, []).append(case.seed)
    rows = []
    for case in {case.name: case for case in plan.cases}.values():
        forecast = case.forecast
        megabytes = "?" if forecast.parameters is None else f"{4 * forecast.parameters / 1e6:.2f}"
        cells = (
            _count(forecast.classes),
            _count(forecast.images),
            "?" if forecast.drawn is None else f"{100 * forecast.drawn:.3g}%",
            _count(forecast.steps),
            _count(forecast.parameters),
            megabytes,
            _count(forecast.centres),
        )
        rows.append((case.name, ", ".join(map(str, seeds[case.name])), *cells))
    numbers = ("classes", "images", "in an epoch", "steps", "parameters", "MB", "class centres")
    return Table(("case", "seeds", *numbers), rows, numbers=numbers)


def plan_duration(plan: Plan, store: Store) -> str:
    """How long `mlbench run` will take, by earlier runs on this machine."""
    from mlbench.measurement.durations import Durations, duration_text

    records = {case.key: store.get(case.key) for case in plan.cases}
    pending = [case for case in plan.cases if (found := records[case.key]) is None or found.status != "done"]
    if not pending:
        return "duration: every case has been run"
    durations = Durations(plan.device)
    seconds, unknown = durations.training(pending)
    seconds += durations.measuring(pending)
    if unknown == len(pending):
        return "duration: not known, as no such case has run on this machine"
    text = f"duration: about {duration_text(seconds)}, by earlier runs on this machine"
    return f"{text}, without {unknown} of {len(pending)} runs that are new to it" if unknown else text


def plan_json(plan: Plan) -> str:
    """The cases as JSON, with their full settings."""
    return _dump(
        [
            {
                "suite": case.suite,
                "case": case.name,
                "seed": case.seed,
                "axes": dict(case.spec.axes),
                "fingerprint": case.fingerprint,
                "record": case.key,
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


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)

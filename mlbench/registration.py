"""The registration of a plugin: its contract version, and the components that its hook returns, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import pluggy

from mlbench import hookspecs
from mlbench.contracts import CONTRACT, KINDS, OLDEST_CONTRACT, Component
from mlbench.errors import hint

__all__ = ["NAME", "Fault", "RegistrationError", "checked_contract", "plugin_manager", "registered"]

#: Pattern of the names of components, which suites write in `--set neck=NAME` and in keys.
NAME = r"[^\W\d][\w-]*"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a plugin or with one of its components, and what to do.

    kind, name: of the component that is set aside; "" for the whole plugin. A kind that is no text is
    "component", such a name is ""."""

    error: str
    fix: str
    kind: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else f"a {self.kind}"

    @property
    def text(self) -> str:
        """Error and fix."""
        return f"{self.error}; {self.fix}" if self.fix else self.error


class RegistrationError(Exception):
    """A plugin does not register as the contract says. fix: what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def plugin_manager() -> pluggy.PluginManager:
    """A manager with mlbench's hooks and without plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def checked_contract(plugin: Any, package: str) -> None:
    """Raise RegistrationError for a plugin that is written for a version of the contract that this mlbench
    does not support. package: its distribution."""
    stated = getattr(plugin, "MLBENCH_CONTRACT", CONTRACT)
    if not isinstance(stated, int) or isinstance(stated, bool):
        raise RegistrationError(
            f"MLBENCH_CONTRACT is {stated!r}; expected a whole number, such as {CONTRACT}",
            f"write MLBENCH_CONTRACT = {CONTRACT} beside the hook",
        )
    if not OLDEST_CONTRACT <= stated <= CONTRACT:
        supported = f"contract {CONTRACT}"
        if OLDEST_CONTRACT < CONTRACT:
            supported = f"contracts {OLDEST_CONTRACT} to {CONTRACT}"
        raise RegistrationError(
            f"it is built for contract {stated} of mlbench and this mlbench has {supported}",
            "upgrade mlbench" if stated > CONTRACT else f"install a newer version of {package}",
        )


def registered(plugin: Any, name: str) -> tuple[tuple[Component, ...], tuple[Fault, ...]]:
    """The components of a plugin, a module or object, and the faults of those that are set aside.

    name: of its entry point. Raises RegistrationError and what the plugin's code raises."""
    manager = plugin_manager()
    try:
        manager.register(plugin, name=name)
        manager.check_pending()  # else a misspelt hook name would be ignored without an error
    except pluggy.PluginValidationError as error:
        problem = str(error).partition("\n")[0].partition(" in plugin ")[0]
        raise RegistrationError(problem, "name the hook mlbench_components()") from None
    marker = (
        "mark mlbench_components with mlbench.plugin.hookimpl, and let the entry point name the module that "
        "has it"
    )
    if not manager.get_hookcallers(plugin):
        raise RegistrationError("it has no hook", marker)
    hook = manager.hook.mlbench_components
    batches = hook()
    advice = "return a list of Components"
    if len(batches) < len(hook.get_hookimpls()):  # pluggy leaves None out
        raise RegistrationError("mlbench_components returned None; expected Components", advice)
    place = getattr(plugin, "__file__", None) or name
    components: dict[tuple[str, str], Component] = {}
    faults: list[Fault] = []
    for batch in batches:
        if isinstance(batch, Component):
            raise RegistrationError(
                "mlbench_components returned a Component; expected a list of Components", advice
            )
        for component in batch:
            if not isinstance(component, Component):
                what = type(component).__name__
                raise RegistrationError(f"mlbench_components returned a {what}; expected Components", advice)
            if mistake := _mistake(component):
                faults.append(_fault(component, mistake, f"correct its Component in {place}"))
                continue
            key = component.kind, component.name
            if key in components:
                faults.append(
                    _fault(component, "it is registered twice", f"remove one of its Components from {place}")
                )
            components[key] = component
    twice = {(fault.kind, fault.name) for fault in faults}
    return tuple(each for key, each in components.items() if key not in twice), tuple(dict.fromkeys(faults))


def _mistake(component: Component) -> str:
    """What is wrong with a registration, "" if nothing is."""
    kind: Any = component.kind  # nothing has checked the types
    name: Any = component.name
    if not isinstance(kind, str):
        return f"its kind is {_shown(kind)}; expected text, such as 'loss'"
    if kind not in KINDS:
        return f"unknown kind {kind!r} ({hint(kind, KINDS)})"
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        return f"its name is {_shown(name)}; expected a letter, then letters, digits, _ and -"
    target: Any = component.options
    if not isinstance(target, str) or not re.fullmatch(r"[\w.-]+:\w+", target):
        return f"it points at {_shown(target)}; expected 'module:Class'"
    for field in ("summary", "source"):
        value = getattr(component, field)
        if not isinstance(value, str):
            return f"its {field} is {_shown(value)}; expected text"
    return ""


def _shown(value: object) -> str:
    """`value` in one line."""
    return shorten(repr(value), 60, placeholder="...")


def _fault(component: Component, error: str, fix: str) -> Fault:
    kind = component.kind if isinstance(component.kind, str) else "component"
    return Fault(error, fix, kind, component.name if isinstance(component.name, str) else "")

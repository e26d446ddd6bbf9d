"""The hooks that a plugin may implement, and the markers for them.

A plugin is an installed distribution with an entry point in the group "mlbench" that points at a module
(or object) with functions marked `@hookimpl`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from mlbench.contracts import Component

__all__ = ["ENTRY_POINT_GROUP", "PROJECT", "hookimpl", "hookspec", "mlbench_components"]

PROJECT = "mlbench"
ENTRY_POINT_GROUP = "mlbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mlbench_components() -> Iterable[Component]:  # type: ignore[empty-body]
    """The components of this plugin.

    Called once in every command, when the registry is built, so it must not import large packages or read
    files. The order of the components does not matter."""

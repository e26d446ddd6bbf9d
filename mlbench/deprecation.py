"""Deprecations of the plugin contract: each names the plugin, what to use instead, and the version in which
the old form goes."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import TextIO

from mlbench.local_modules import file_of

__all__ = ["ContractDeprecationWarning", "Deprecated", "show_deprecations", "warn_deprecated"]


class ContractDeprecationWarning(DeprecationWarning):
    """A plugin uses what a later version removes."""


@dataclass(frozen=True, slots=True)
class Deprecated:
    """instead: what to use. removed_in: version of mlbench in which it goes, such as "0.4"."""

    instead: str
    removed_in: str


def warn_deprecated(what: str, deprecated: Deprecated, module: str) -> None:
    """Warn that `module`, a dotted name, uses `what`. The warning is attributed to the caller's caller."""
    file = file_of(module)
    user = f"the plugin {file}" if file else _plugin_of(module) or f"the module {module}"
    message = (
        f"{user} uses {what}, which mlbench {deprecated.removed_in} removes; use {deprecated.instead} instead"
    )
    warnings.warn(message, ContractDeprecationWarning, stacklevel=3)


def show_deprecations() -> None:
    """Print each deprecation once as a note on stderr, for the rest of the process."""
    usual = warnings.showwarning
    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, ContractDeprecationWarning):
            usual(message, category, filename, lineno, file, line)
        elif str(message) not in seen:
            seen.add(str(message))
            sys.stderr.write(f"note: {message}\n")

    warnings.filterwarnings("always", category=ContractDeprecationWarning)
    warnings.showwarning = show


def _plugin_of(module: str) -> str:
    """The plugin that has a module, by its top-level package; "" where none has it."""
    from importlib.metadata import entry_points  # slow, and rarely needed

    top = module.partition(".")[0]
    for point in entry_points(group="mlbench"):
        if point.value.partition(":")[0].partition(".")[0] == top:
            package, version = (point.dist.name, point.dist.version) if point.dist else ("no package", "0")
            return f"plugin {point.name!r} ({package} {version})"
    return ""

"""The sections of a page: those of every installed plugin, built and added; a faulty one is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlbench.contracts import Section
from mlbench.errors import first_line
from mlbench.page.context import PageContext
from mlbench.page.writer import PageWriter
from mlbench.registry import Entry, Registry

__all__ = ["add_sections"]


def add_sections(
    writer: PageWriter, context: PageContext, registry: Registry, note: Callable[[str], None]
) -> None:
    """Add the sections of a registry in their order. One that raises, or is no section, is left out with a
    line on the page, which `note` gets too."""
    made: list[tuple[int, str, Entry, Any]] = []
    for entry in registry:
        if entry.component.kind != "section":
            continue
        try:
            options = entry.make({})
            made.append((int(options.place), entry.component.name, entry, options))
        # A plugin may raise anything; the other sections are still shown.
        except Exception as error:
            _leave_out(writer, entry, error, note)
    for _, name, entry, options in sorted(made, key=lambda each: each[:2]):
        try:
            section = options.build(context)
            if section is None:
                continue
            if not isinstance(section, Section):
                raise TypeError(f"build returns {type(section).__name__}; expected a Section or None")
            writer.add(name, section)
        except Exception as error:  # as above
            _leave_out(writer, entry, error, note)


def _leave_out(writer: PageWriter, entry: Entry, error: Exception, note: Callable[[str], None]) -> None:
    whose = f"{entry.plugin.package} {entry.plugin.version}"
    line = f"section {entry.component.name!r} of {whose} is left out: {first_line(error)}"
    writer.add_fault(line)
    note(line)

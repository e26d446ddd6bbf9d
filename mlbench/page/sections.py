"""The sections of a page: those of every installed plugin, built and added; a faulty one is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlbench.contracts import Section
from mlbench.errors import MlbenchError, OptionError, SuiteError, first_line, hint
from mlbench.page.context import PageContext
from mlbench.page.writer import PageWriter
from mlbench.planning.document import parse_value
from mlbench.registry import Entry, Registry

__all__ = ["add_sections", "section_options"]


def section_options(texts: Sequence[str], registry: Registry) -> dict[str, dict[str, Any]]:
    """Options of sections by their names, from texts such as "map.method=umap". Raises SuiteError for an
    unknown section or option and a wrong value."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, option = key.partition(".")
        where = f"--section {text}"
        if not (equals and dot and option):
            raise SuiteError(f"{where}: expected NAME.OPTION=VALUE, such as map.method=umap")
        if name not in registry.names("section"):
            raise SuiteError(f"{where}: no section {name!r} ({hint(name, registry.names('section'))})")
        found.setdefault(name, {})[option] = parse_value(value, where)
        try:
            registry.get("section", name).check(found[name])
        except OptionError as error:
            raise SuiteError(f"{where}: {error}") from None
    return found


def add_sections(
    writer: PageWriter,
    context: PageContext,
    registry: Registry,
    note: Callable[[str], None],
    chosen: Mapping[str, Mapping[str, Any]],
) -> None:
    """Add the sections of a registry in their order. One that raises, or is no section, is left out with a
    line on the page, which `note` gets too. chosen: options by the names of sections."""
    made: list[tuple[int, str, Entry, Any]] = []
    for entry in registry:
        if entry.component.kind != "section":
            continue
        try:
            options = entry.make(chosen.get(entry.component.name, {}))
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
    reason = str(error) if isinstance(error, MlbenchError) else first_line(error)
    whose = f"{entry.plugin.package} {entry.plugin.version}"
    line = f"section {entry.component.name!r} of {whose} is left out: {reason}"
    writer.add_fault(line)
    note(line)

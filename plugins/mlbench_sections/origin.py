"""Origin: how the results were made, and how to make them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from mlbench.plugin import PageContext, Record, Section, SectionOptions
from mlbench_sections.templates import template

__all__ = ["Origin"]


class Origin(SectionOptions):
    """Notes and errors of the cases, their data, environment, packages and fingerprints, and the command that
    makes the results again."""

    place: ClassVar[int] = 900

    notes: Annotated[int, Field(ge=1)] = 200
    """Notes that are shown, the first ones."""
    fingerprints: Annotated[int, Field(ge=1)] = 400
    """Records whose fingerprints are shown, the first ones."""

    def build(self, context: PageContext) -> Section | None:
        records = context.records
        notes = [*context.notes, *context.lacking, *context.remarks, *filter(None, [context.findings_note])]
        shown = records[: self.fingerprints]
        return Section.of(
            "Notes and origin",
            template("origin"),
            notes=notes[: self.notes],
            more_notes=max(0, len(notes) - self.notes),
            command=context.command,
            facts=_facts(context.done),
            fingerprints=[
                (each.case, each.seed, each.fingerprint, each.finished, each.status) for each in shown
            ],
            more_records=len(records) - len(shown),
        )


def _facts(records: tuple[Record, ...]) -> list[tuple[str, list[str]]]:
    """Facts of records by name, each with every value that it has."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in _named(record):
            found.setdefault(name, {})[value] = None
    return [(name, list(values)[:12]) for name, values in found.items()]


def _named(record: Record) -> Iterator[tuple[str, str]]:
    yield "data", str(record.data.get("version", ""))
    splits = record.data.get("splits", {})
    if splits:
        counts = (f"{name} {each['images']:,} of {each['classes']:,}" for name, each in splits.items())
        yield "images of classes", ", ".join(counts)
    if record.training.get("weights"):
        yield "initial weights", str(record.training["weights"])
    for name, value in record.environment.items():
        if value not in (None, "", {}, []):
            yield name.replace("_", " "), _text(value)
    for name, each in record.components.items():
        yield name, f"{each.get('package')} {each.get('version')}, code {each.get('code')}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

"""What differs between two runs of a case: the revision, its settings, code, libraries, data and machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.history.runs import Run
from mlbench.planning.claims import flat_settings
from mlbench.records.record import Record

__all__ = ["Difference", "differences"]

_ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact of two runs. part: "revision", "setting", "component", "library", "data" or "machine"."""

    part: str
    name: str
    before: str
    after: str


def differences(before: Run, after: Run) -> tuple[Difference, ...]:
    """All facts that differ. What one side does not record, as in a baseline, is not compared."""
    old, new = before.records[0], after.records[0]
    found = [*_of_revision(before, after)]
    if old.settings and new.settings:
        found += _of("setting", dict(flat_settings(old.settings)), dict(flat_settings(new.settings)))
    if old.components and new.components:
        found += _of("component", _components(old), _components(new))
    if old.conditions.get("core") and new.conditions.get("core"):
        found += _of("component", {"mlbench": old.conditions["core"]}, {"mlbench": new.conditions["core"]})
    if (libraries := _libraries(old)) and _libraries(new):
        found += _of("library", libraries, _libraries(new))
    found += _known("data", _data(old), _data(new))
    found += _known("machine", _machine(old), _machine(new))
    return tuple(found)


def _of_revision(before: Run, after: Run) -> Iterator[Difference]:
    names = ("commit", "changed")
    if any(before.revision.get(name) != after.revision.get(name) for name in names):
        texts = [
            f"{run.label} {run.revision.get('subject', '')}".strip() or "not recorded"
            for run in (before, after)
        ]
        yield Difference("revision", "commit", texts[0], texts[1])


def _of(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*new, *old)):
        if old.get(name, _ABSENT) != new.get(name, _ABSENT):
            yield Difference(part, name, _text(old.get(name, _ABSENT)), _text(new.get(name, _ABSENT)))


def _known(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """Differences of the facts that both sides have."""
    both = [name for name in old if old[name] is not None and new.get(name) is not None]
    return _of(part, {name: old[name] for name in both}, {name: new[name] for name in both})


def _components(record: Record) -> dict[str, str]:
    return {
        section: " ".join(str(each[name]) for name in ("package", "version", "code") if each.get(name))
        for section, each in record.components.items()
    }


def _libraries(record: Record) -> dict[str, str]:
    libraries = record.conditions.get("libraries") or record.environment.get("libraries") or {}
    python = record.environment.get("python")
    return {
        **libraries,
        **(record.conditions.get("component_libraries") or {}),
        **({"Python": python} if python else {}),
    }


def _data(record: Record) -> dict[str, Any]:
    return {
        "version": record.data.get("version"),
        "initial weights": record.conditions.get("weights"),
        "protocol": record.evaluation.get("protocol", {}).get("text"),
    }


def _machine(record: Record) -> dict[str, Any]:
    names = ("cpu", "cores", "device_product", "threads", "platform")
    found = {name: record.environment.get(name) for name in names}
    return {**found, "batch size": record.measured.get("batch_size")}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

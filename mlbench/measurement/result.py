"""A measurement: speeds, memory peaks and sizes of a case, as its record stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbench.records.record import MEASURED, Record, Timing

__all__ = ["SIZES", "Measurement", "has_measurement_notes", "lost_note"]

#: Sizes that are measured; training records the others.
SIZES = ("flops", "checkpoint_float32", "checkpoint_float16", "onnx")

_UNKNOWN = " not known: "

#: Start of the note on a lost measurement; of such a note in records of schema 2.
_LOST, _OLDER = "not measured: ", "speed is not known: "


@dataclass(frozen=True)
class Measurement:
    """Speed, memory and sizes of one case; see the fields of `mlbench.records.record.Record`.

    unknown: by size, why it is not known. lost: why nothing could be measured, "" if something was.
    """

    speed: Mapping[str, Timing] = field(default_factory=dict)
    memory: Mapping[str, Timing] = field(default_factory=dict)
    size: Mapping[str, int | None] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Why values are unknown, one line for each reason."""
        if self.lost:
            return (f"{_LOST}{self.lost}; the next run measures again",)
        missing: dict[str, list[str]] = {}
        for name, timing in self.speed.items():
            if timing.value is None:
                missing.setdefault(timing.note, []).append(name)
        for name, reason in self.unknown.items():
            missing.setdefault(reason, []).append(name)
        return tuple(f"{', '.join(names)}{_UNKNOWN}{reason}" for reason, names in missing.items())

    def facts(self, record: Record) -> dict[str, Any]:
        """Fields of a record, which replace those of an earlier measurement. Where nothing could be measured,
        an earlier measurement stays."""
        known = {name: value for name, value in record.size.items() if name not in SIZES}
        others = (note for note in record.notes if not _is_of_measurement(note))
        notes = tuple(dict.fromkeys((*others, *self.notes)))
        if self.lost:
            return {"notes": notes}
        return {
            "speed": self.speed,
            "memory": self.memory,
            "size": {**known, **self.size},
            "measured": self.measured,
            "notes": notes,
        }


def lost_note(record: Record) -> str:
    """The note of a record whose last measurement was lost, "" for any other; its speeds are older."""
    return next((note for note in record.notes if note.startswith(_LOST)), "")


def has_measurement_notes(record: Record) -> bool:
    """Whether a value of the record could not be measured."""
    return any(_is_of_measurement(note) for note in record.notes)


def _is_of_measurement(note: str) -> bool:
    """Whether a record's note comes from a measurement."""
    names, unknown, _ = note.partition(_UNKNOWN)
    is_unknown = bool(unknown) and MEASURED.keys() >= set(names.split(", "))
    return is_unknown or note.startswith((_LOST, _OLDER))

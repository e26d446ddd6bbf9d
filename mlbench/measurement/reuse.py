"""Measurements of earlier records that still hold for a case, stage by stage.

A case is trained again when anything changes that its result depends on, such as the code of a metric. Its
speed depends on less: that of inference on backbone and neck, that of training on the loss and others too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlbench.environment import Device, library_versions, threads
from mlbench.measurement.result import SIZES, Measurement, has_measurement_notes
from mlbench.measurement.subject import STAGES, sections_of, stage_key, stages_of
from mlbench.planning.plan import Case
from mlbench.provenance import core_hash
from mlbench.records.record import Record

__all__ = ["Earlier", "joined"]

#: Parts of the core whose code can change a speed.
_SPEED_PARTS = ("compiled", "contracts", "deployment", "measurement", "planning.spec", "seeding", "training")


class Earlier:
    """The measurements of earlier records on this machine. device: that measures now."""

    def __init__(self, records: Sequence[Record], device: Device) -> None:
        self._device = device
        self._known: dict[str, Record] = {}
        for record in sorted(records, key=lambda each: each.finished):
            for stage, key in record.measured.get("keys", {}).items():
                if _is_sound(record, stage):
                    self._known[key] = record

    def of(self, case: Case) -> dict[str, Record]:
        """The newest record by each stage of a case whose measurement still holds."""
        keys = {stage: _key(case, stage, self._device) for stage in stages_of(case)}
        return {stage: self._known[key] for stage, key in keys.items() if key in self._known}


def joined(
    case: Case, found: Measurement | None, earlier: Mapping[str, Record], device: Device
) -> Measurement:
    """The measurement of a case. found: of the stages that were measured now, None for no stage. earlier: by
    each other stage the record with its measurement, which "taken_from" of the result names."""
    if found is None:
        found = Measurement()
    if found.lost:
        return found
    measured: dict[str, Any] = {}
    speed, memory, size = dict(found.speed), dict(found.memory), dict(found.size)
    turns = dict(found.measured.get("turns", {}))
    lowest = [found.measured.get("reference_minimum")]
    for stage, record in earlier.items():
        measured |= record.measured
        lowest.append(record.measured.get("reference_minimum"))
        speed |= {name: record.speed[name] for name in STAGES[stage]}
        turns |= {name: record.turn(name) for name in STAGES[stage]}
        memory |= {name: each for name, each in record.memory.items() if _stage_of_memory(name) == stage}
        size |= {
            name: record.size[name] for name in SIZES if name in record.size and _stage_of_size(name) == stage
        }
    if earlier:
        speed = {name: speed[name] for names in STAGES.values() for name in names if name in speed}
    measured["batch_size"] = case.spec.measure.batch_size
    if "training" in stages_of(case):
        measured["training_batch_size"] = case.recipe.batch_size
    known = [each for each in lowest if each is not None]
    taken = {stage: record.key for stage, record in earlier.items()}
    lowest_known = min(known, default=None)
    measured |= {**found.measured, "reference_minimum": lowest_known, "turns": turns}
    if taken:
        measured["taken_from"] = taken
    return replace(
        found,
        speed=speed,
        memory=memory,
        size=size,
        measured=_with_keys(case, measured, device),
    )


def _with_keys(case: Case, measured: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """`Record.measured` of a case with the keys of its stages, by which later cases find it."""
    return {**measured, "keys": {stage: _key(case, stage, device) for stage in stages_of(case)}}


def _key(case: Case, stage: str, device: Device) -> str:
    """Hash of everything that the speed of a stage depends on."""
    chosen = sections_of(stage)
    code = {
        section: each["code"]
        for section, each in case.spec.provenance().items()
        if section.partition(".")[0].partition(" ")[0] in chosen
    }
    machine = [device.kind, device.product, threads(), library_versions()]
    parts = [part for section, part in case.spec.parts.items() if section in chosen]
    parts += [each.part for each in case.spec.losses.values() if "loss" in chosen]
    libraries = [each.entry.libraries for part in parts for each in (part, *part.inner.values())]
    facts = json.dumps(
        [stage_key(case, stage), code, libraries, core_hash(*_SPEED_PARTS), machine], sort_keys=True
    )
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _is_sound(record: Record, stage: str) -> bool:
    """Whether a measurement is complete, and no other work slowed the machine."""
    return (
        record.status == "done"
        and not has_measurement_notes(record)
        and all(name in record.speed and record.speed[name].value is not None for name in STAGES[stage])
        and not any(record.is_disturbed(name) for name in STAGES[stage])
    )


def _stage_of_memory(name: str) -> str:
    return "training" if name.startswith("training_") else "inference"


def _stage_of_size(name: str) -> str:
    return "onnx" if name == "onnx" else "inference"

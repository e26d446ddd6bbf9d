"""Evidence files: what the claims of a suite rest on, small enough to commit.

One JSON file for a suite at one size: for each case its settings and the values by seed of the quantities
that the claims name, with the machine, the versions and the looks. A page of findings is made from it
anywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.atomic_write import write_atomically
from mlbench.claims.looks import AllLooks, looks_from_plain, looks_to_plain
from mlbench.errors import StoreError
from mlbench.planning.suite import Suite
from mlbench.records.record import Estimate, Record, Timing, parse_json
from mlbench.records.store import results_settings

__all__ = [
    "SCHEMA",
    "EvidenceFile",
    "evidence_text",
    "machine_facts",
    "machine_text",
    "read_evidence",
    "save_evidence",
]

#: Version of the file format.
SCHEMA = 1

#: Significant digits of the rounds of speeds. Metrics are stored exactly.
_DIGITS = 5

#: Facts of the environment that are kept.
_ENVIRONMENT = ("cpu", "cores", "threads", "device", "device_name", "device_product", "python", "system")


@dataclass(frozen=True)
class EvidenceFile:
    """What an evidence file holds. records: with the quantities of the claims alone."""

    suite: str
    records: tuple[Record, ...]
    settings: Mapping[str, Mapping[str, Any]]
    looks: AllLooks
    environment: Mapping[str, Any]
    libraries: Mapping[str, str]
    finished: str


def save_evidence(suite: Suite, records: Sequence[Record], looks: AllLooks, folder: Path) -> Path:
    """Write the evidence file of a suite into a folder. Raises StoreError."""
    path = folder / f"{suite.name}.json"
    write_atomically(path, evidence_text(suite, records, looks).encode())
    return path


def evidence_text(suite: Suite, records: Sequence[Record], looks: AllLooks) -> str:
    """The content of an evidence file, with one line for each case and quantity."""
    names = sorted({name for claim in suite.claims for name in claim.part.ask("quantities")})
    newest = max(records, key=lambda record: record.finished)
    head = {
        "evidence": SCHEMA,
        "suite": suite.name,
        **machine_facts(newest),
        "looks": looks_to_plain(looks),
    }
    lines = [f" {_dump(key)}: {_dump(value)}," for key, value in head.items()]
    sessions = _sessions(records)
    cases = [
        f"  {_dump(case)}: {{\n" + ",\n".join(_case_lines(group, names, sessions)) + "\n  }"
        for case, group in _by_case(records).items()
    ]
    return "\n".join(["{", *lines, ' "cases": {', ",\n".join(cases), " }", "}"]) + "\n"


def machine_facts(record: Record) -> dict[str, Any]:
    """When a record was finished, on which machine and with which libraries, as plain data."""
    return {
        "finished": record.finished,
        "environment": {k: record.environment[k] for k in _ENVIRONMENT if k in record.environment},
        "libraries": record.conditions.get("libraries", {}),
    }


def read_evidence(path: Path) -> EvidenceFile:
    """Read an evidence file. Raises StoreError."""
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from None
    version = data.get("evidence") if isinstance(data, dict) else None
    if version != SCHEMA:
        raise StoreError(
            f"{path}: no evidence file of schema {SCHEMA}; make one with: mlbench claims SUITE --save FOLDER"
        )
    try:
        return EvidenceFile(
            suite=str(data["suite"]),
            records=tuple(_records(data)),
            settings={case: dict(each["settings"]) for case, each in data["cases"].items()},
            looks=looks_from_plain(data["looks"], str(path)),
            environment=dict(data["environment"]),
            libraries=dict(data["libraries"]),
            finished=str(data["finished"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: not an evidence file ({error!r})") from None


def machine_text(
    finished: str, what: str, environment: Mapping[str, Any], libraries: Mapping[str, str]
) -> str:
    """Until when, on which machine and with which libraries something was measured, in one sentence. what:
    how much of it, as "2 cases, 3 seeds each"."""
    device = environment.get("device_name") or environment.get("device", "")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
    return (
        f"Measured until {finished[:10]}: {what}, on "
        f"{environment.get('cpu', '?')}, {environment.get('cores', '?')} cores"
        f"{f', {device}' if device and device != 'cpu' else ''}; {versions}."
    )


def _by_case(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.case, record.seed)):
        found.setdefault(record.case, []).append(record)
    return found


def _sessions(records: Sequence[Record]) -> Counter[tuple[str, str]]:
    """The number of cases with rounds of a speed from a measuring session, by the names of both. Of several
    records of a case the file keeps the rounds of the session that most cases have."""
    found = {
        (record.case, name, record.session(name))
        for record in records
        for name, timing in record.speed.items()
        if timing.rounds
    }
    return Counter((name, session) for _, name, session in found)


def _case_lines(
    records: Sequence[Record], names: Sequence[str], sessions: Counter[tuple[str, str]]
) -> Iterator[str]:
    """Lines of one case."""
    yield f'   "settings": {_dump(results_settings(records[-1].settings))}'
    yield f'   "seeds": {_dump({str(r.seed): r.fingerprint[:16] for r in records})}'
    if failed := {str(record.seed): record.error for record in records if record.status != "done"}:
        yield f'   "failed": {_dump(failed)}'
    done = [record for record in records if record.status == "done"]
    for name in names:
        estimates = {str(r.seed): found for r in done if (found := r.estimate(name)) is not None}
        if estimates:
            known = {seed: each.value for seed, each in estimates.items()}
            first = next(iter(estimates.values()))
            announced = {"unit": first.unit, "higher_is_better": first.higher_is_better}
            yield f"   {_dump(f'metric {name}')}: {_dump({**announced, 'values': known})}"
        for group in ("speed", "memory"):
            measured = [record for record in done if name in getattr(record, group)]
            if measured:
                record = max(measured, key=lambda each: sessions[name, each.session(name)])
                timing = getattr(record, group)[name]
                rounds = [float(f"{value:.{_DIGITS}g}") for value in timing.rounds]
                note = timing.note or ("other work slowed the machine" if record.is_disturbed(name) else "")
                plain = {"value": timing.value, "unit": timing.unit, "rounds": rounds, "note": note}
                if record.turn(name):
                    plain["turn"] = record.turn(name)
                yield f"   {_dump(f'{group} {name}')}: {_dump(plain)}"
        size = next((r.size[name] for r in done if r.size.get(name) is not None), None)
        if size is not None:
            yield f"   {_dump(f'size {name}')}: {size}"


def _records(data: Mapping[str, Any]) -> Iterator[Record]:
    for case, found in data["cases"].items():
        failed = found.get("failed", {})
        groups: dict[str, dict[str, Any]] = {}
        for key, value in found.items():
            group, _, name = key.partition(" ")
            groups.setdefault(group, {})[name] = value
        speeds = groups.get("speed", {})
        for seed, fingerprint in found["seeds"].items():
            metrics = {
                name: Estimate(
                    _number(each["values"][seed]),
                    unit=each["unit"],
                    higher_is_better=each["higher_is_better"],
                )
                for name, each in groups.get("metric", {}).items()
                if seed in each["values"]
            }
            yield Record(
                suite=data["suite"],
                case=case,
                seed=int(seed),
                fingerprint=fingerprint,
                status="failed" if seed in failed else "done",
                error=failed.get(seed, ""),
                settings=found["settings"],
                metrics=metrics,
                size={name: _number(each) for name, each in groups.get("size", {}).items()},
                speed=_timings(speeds),
                memory=_timings(groups.get("memory", {})),
                measured={"turns": {name: str(each.get("turn", "")) for name, each in speeds.items()}},
                environment=dict(data["environment"]),
                finished=data["finished"],
            )


def _timings(plain: Mapping[str, Any]) -> dict[str, Timing]:
    found = {}
    for name, each in plain.items():
        rounds = tuple(map(float, each["rounds"]))
        if any(value <= 0 for value in rounds):
            raise ValueError(f"{name} has a round that is not above 0")
        found[name] = Timing(_number(each["value"]), rounds, each["unit"], note=each["note"])
    return found


def _number(given: Any) -> Any:
    """A number as it is, or None. Raises TypeError for anything else."""
    if given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
        return given
    raise TypeError(f"{given!r} is not a number")


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)

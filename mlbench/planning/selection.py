"""A selection: the records of a suite, by the fingerprints of its current file, or by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlbench.errors import StoreError, SuiteError, hint
from mlbench.planning.claims import flat_settings
from mlbench.planning.heading import Heading, read_heading
from mlbench.planning.plan import Case, Plan
from mlbench.planning.request import PlanRequest
from mlbench.records.conditions import condition_changes
from mlbench.records.record import Record
from mlbench.records.store import Store, results_settings
from mlbench.registry import Registry

__all__ = ["Lacking", "Selection", "all_seeds", "select_records", "suite_records"]

#: Differences of a record that a message names; the others are counted.
_NAMED = 3

_NO_RECORD = "no record"


@dataclass(frozen=True, slots=True)
class Lacking:
    """A case and seed of a suite file that has no record. reason: one line."""

    case: str
    seed: int
    reason: str

    def __str__(self) -> str:
        return f"{self.case} seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Selection:
    """Records of a suite, one for each case and seed. lacking: cases and seeds of the suite file without a
    record. remarks: notes on records that are left out, one line each. stored: for records of renamed cases,
    their key to the key that they are stored under. plan: of the suite's file, None where only its name was
    given."""

    heading: Heading
    records: tuple[Record, ...]
    lacking: tuple[Lacking, ...] = ()
    remarks: tuple[str, ...] = ()
    stored: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None


def suite_records(
    suite: str, results: Path, request: PlanRequest, registry: Callable[[], Registry]
) -> Selection:
    """Records of a suite in `results`. By its file: the records that a run of the current file would reuse.
    By its name: the newest records with the same conditions (see `Store.latest`).

    registry: called where there is a file to plan. Raises StoreError where there is no record, SuiteError for
    a file that cannot be planned.
    """
    heading = read_heading(suite, request.size)
    store = Store(results, heading.name)
    if heading.path is not None and heading.has_cases:
        plan = request.plan(heading.path, registry())
        records, lacking, stored = select_records(plan, store)
        if not records:
            outdated = next((each for each in lacking if each.reason != _NO_RECORD), None)
            if outdated is None:
                raise StoreError(f"no records of the suite {heading.name!r} in {results}; {_advice(heading)}")
            raise StoreError(f"{outdated}; {_advice(heading)}")
        return Selection(heading, records, lacking, stored=stored, plan=plan)
    if request != PlanRequest(size=request.size if heading.path else None):
        raise SuiteError(
            f"{suite}: size, cases, seeds, settings, device and precision are chosen from a suite file; "
            f"give that{f', or the name with the size ({suite}-{request.size})' if request.size else ''}"
        )
    newest, remarks = store.latest()
    if not newest:
        known = [each.name for each in sorted(results.glob("*/")) if any(each.glob("*.json"))]
        why = remarks[0] if remarks else hint(heading.name, known) if known else ""
        raise StoreError(
            f"no records of the suite {heading.name!r} in {results}{why and f' ({why})'}; {_advice(heading)}"
        )
    made = _period(newest[0].finished, newest[-1].finished)
    remarks.append(
        f"{heading.name}: the newest records with the same conditions, from {made}; give the suite's file "
        "for the records of the current file"
    )
    return Selection(heading, tuple(newest), (), tuple(remarks))


def select_records(
    plan: Plan, store: Store
) -> tuple[tuple[Record, ...], tuple[Lacking, ...], dict[str, str]]:
    """The record of each case of a plan, also where the case was renamed since; the cases without a record;
    and `Selection.stored`."""
    found = {case.key: store.get(case.key) for case in plan.cases}
    others: dict[tuple[str, int], Record] = {}
    stored: dict[str, str] = {}
    if any(record is None or record.status != "done" for record in found.values()):
        others = {(record.case, record.seed): record for record in store.read()[0]}
        finished = store.by_fingerprint()
        for case in plan.cases:
            known = found[case.key]
            record = finished.get(case.fingerprint)
            if record is not None and (known is None or known.status != "done"):
                found[case.key] = replace(record, case=case.name, axes=dict(case.spec.axes))
                stored[case.key] = record.key
    lacking = [case for case in plan.cases if found[case.key] is None]
    return (
        tuple(record for record in found.values() if record is not None),
        tuple(
            Lacking(case.name, case.seed, _reason(case, others.get((case.name, case.seed))))
            for case in lacking
        ),
        stored,
    )


def all_seeds(plan: Plan, store: Store) -> list[Record]:
    """The records of a plan's cases with any seed."""
    wanted = {case.name: (_plain_settings(case.spec.plain()), dict(case.conditions)) for case in plan.cases}
    return [
        record
        for record in store.read()[0]
        if wanted.get(record.case) == (_plain_settings(record.settings), dict(record.conditions))
    ]


def _plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that can change a metric, as read back from JSON."""
    found: dict[str, Any] = json.loads(json.dumps(results_settings(settings)))
    return found


def _reason(case: Case, other: Record | None) -> str:
    """Why a case has no record. other: its newest record of another fingerprint."""
    if other is None:
        return _NO_RECORD
    then, now = (dict(flat_settings(settings)) for settings in (other.settings, case.spec.plain()))
    texts = [
        f"{name} ({then.get(name)} then, {now.get(name)} now)"
        for name in dict.fromkeys((*now, *then))
        if then.get(name) != now.get(name) and not name.startswith("measure.")
    ]
    if other.conditions.get("data") not in (None, case.conditions["data"]):
        texts.append("data")
    texts += condition_changes(other.conditions, case.conditions)
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    named = ", ".join(texts[:_NAMED]) or "settings or code"
    return f"no record of the current suite; the newest record differs in {named}{more}"


def _advice(heading: Heading) -> str:
    file = heading.path if heading.path is not None and heading.has_cases else "SUITE.yaml"
    return f"make some with: mlbench run {file}{f' --size {heading.size}' if heading.size else ''}"


def _period(first: str, last: str) -> str:
    """Two times, ISO 8601, to the minute."""
    first, last = (text[:16].replace("T", " ") for text in (first, last))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"

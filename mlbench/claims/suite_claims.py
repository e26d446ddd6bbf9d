"""The claims of a suite, judged by its stored records or by an evidence file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlbench.claims.evidence_files import EvidenceFile
from mlbench.claims.judgement import Judgement, first_seeds, judge
from mlbench.claims.looks import AllLooks, Looks, read_looks, records_hash
from mlbench.errors import StoreError
from mlbench.planning.case_groups import paired_cases
from mlbench.planning.claims import Claim
from mlbench.planning.plan import Plan
from mlbench.planning.selection import all_seeds, select_records
from mlbench.planning.suite import Suite, recorded_suite
from mlbench.records.record import Record
from mlbench.records.store import Store, results_settings
from mlbench.registry import Registry

__all__ = ["cases_of", "claims_of_file", "claims_of_store", "looks_at", "stored_records"]


def claims_of_store(plan: Plan, store: Store, seeds: Sequence[int] = ()) -> list[Judgement]:
    """Judgements by the records that the plan's cases have in a store, with whatever seed.

    seeds: those that count; () for all. Raises StoreError where there is no record at all.
    """
    records = stored_records(plan, store, seeds)
    _, lacking, _ = select_records(plan, store)
    if not records:
        reason = f" ({lacking[0]})" if lacking else ""
        raise StoreError(f"no records of the suite {plan.suite.name!r}{reason}; run it first")
    chosen = {case.name for case in plan.cases}
    left_out = [spec.name for spec in plan.suite.specs if spec.name not in chosen]
    absent = {name: f"{name} is not among the chosen cases" for name in left_out}
    absent |= {each.case: f"{each.case}: {each.reason}" for each in lacking}
    return _judged(plan.suite, records, absent, read_looks(store.folder))


def stored_records(plan: Plan, store: Store, seeds: Sequence[int] = ()) -> list[Record]:
    """The records of the plan's cases in a store, one for each seed, also where a case was renamed since.
    seeds: () for all."""
    # The record that a renamed case has under its old name precedes one that failed under the new name.
    every = (*all_seeds(plan, store), *select_records(plan, store)[0])
    return list({(r.case, r.seed): r for r in every if not seeds or r.seed in seeds}.values())


def claims_of_file(suite: Suite, found: EvidenceFile, where: str, registry: Registry) -> list[Judgement]:
    """Judgements by an evidence file, whatever code made its records.

    Raises StoreError for a file of another suite, and where a case of the suite has other settings now.
    """
    if found.suite != suite.name:
        raise StoreError(f"{where}: belongs to the suite {found.suite!r}, not to {suite.name!r}")
    specs = {spec.name: spec for spec in suite.specs}
    for case, settings in found.settings.items():
        if case not in specs:
            continue
        # Read as a suite, so that an option that came later has its default.
        then = recorded_suite(suite.name, suite.path, case, 0, settings, where, registry).specs[0].plain()
        if _plain_settings(then) != _plain_settings(specs[case].plain()):
            raise StoreError(f"{where}: {case!r} had other settings; run the suite again")
    records = [record for record in found.records if record.case in specs]
    absent = {name: f"{name} was not run" for name in specs}
    return _judged(suite, records, absent, found.looks)


def cases_of(claim: Claim, suite: Suite) -> list[str]:
    """The cases of the suite that a claim is about."""
    here = {spec.name for spec in suite.specs}
    groups = claim.part.ask("compared")
    named = [case for group in groups for cases in paired_cases(group, suite.axes).values() for case in cases]
    return [case for case in dict.fromkeys(named) if case in here]


def looks_at(
    claim: Claim, suite: Suite, records: Sequence[Record], counts: tuple[int, ...], most: int
) -> Looks:
    """Looks at the records of a claim's cases."""
    return Looks(counts, most, _hash(claim, suite, records, counts[0]))


def _hash(claim: Claim, suite: Suite, records: Sequence[Record], count: int) -> str:
    """Hash of the records that the first look was at."""
    first = first_seeds(suite.seeds, count)
    cases = cases_of(claim, suite)
    return records_hash(record for record in records if record.case in cases and record.seed in first)


def _judged(
    suite: Suite, records: Sequence[Record], absent: Mapping[str, str], looks: AllLooks
) -> list[Judgement]:
    current = {
        claim.id: known
        for claim in suite.claims
        for known in looks.get(claim.id, ())
        if known.records == _hash(claim, suite, records, known.counts[0])
    }
    return judge(
        suite.claims,
        records,
        suite.axes,
        removed=suite.removed,
        absent=absent,
        seeds=suite.seeds,
        looks=current,
    )


def _plain_settings(settings: Mapping[str, Any]) -> Any:
    """Settings that can change a metric, as read back from JSON."""
    return json.loads(json.dumps(results_settings(settings)))

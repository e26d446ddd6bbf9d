"""Claims about speeds: rounds are paired within one measuring session."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from claim_studies import claim, finding
from made_records import planned_record

from mlbench.claims.evidence_files import read_evidence, save_evidence
from mlbench.claims.formats import claims_notes
from mlbench.claims.judgement import Answer, Judgement, judge
from mlbench.claims.suite_claims import claims_of_file
from mlbench.planning.plan import Plan
from mlbench.records.record import Record, Timing
from mlbench.registry import Registry

SPEED = "images_per_second"
ROUNDS = {"a": (110.0, 121.0, 133.0), "b": (100.0, 110.0, 119.0), "c": (50.0, 51.0, 49.0)}


def timed(case: str, turn: str, *, seed: int = 0, factor: float = 1.0) -> Record:
    rounds = tuple(factor * each for each in ROUNDS[case])
    return Record(
        suite="s",
        case=case,
        seed=seed,
        fingerprint=f"{case}{seed}",
        status="done",
        speed={SPEED: Timing(rounds[1], rounds, "images/s")},
        measured={"turns": {SPEED: turn}} if turn else {},
        environment={"device": "cpu"},
    )


def faster(registry: Registry, *records: Record) -> Judgement:
    stated = claim(registry, "better", case="a", than="b", metric=SPEED, by=0.05)
    (found,) = judge([stated], records, {case: {} for case in ROUNDS})
    return found


def test_rounds_of_one_session_are_paired(registry: Registry) -> None:
    found = faster(registry, timed("a", "x.0"), timed("b", "x.0"))
    logs = [math.log(one / other) for one, other in zip(ROUNDS["a"], ROUNDS["b"], strict=True)]
    assert finding(found).effect.value == pytest.approx(math.exp(sum(logs) / 3) - 1)
    assert found.verdict is Answer.SUPPORTED
    assert found.notes == ()


def test_rounds_of_separate_runs_are_not(registry: Registry) -> None:
    for other in ("y.0", ""):
        found = faster(registry, timed("a", "x.0"), timed("b", other))
        assert found.verdict is Answer.NOT_MEASURABLE
        reason = "a, b: images_per_second was measured in separate runs; run with --measure-again"
        assert found.reason == reason


def test_the_session_that_all_cases_have_counts(registry: Registry) -> None:
    """Seed 0 of a was measured alone, twice as fast; seed 1 together with b."""
    together = faster(registry, timed("a", "x.0"), timed("b", "x.0"))
    found = faster(registry, timed("a", "y.0", factor=2), timed("a", "x.0", seed=1), timed("b", "x.0"))
    assert finding(found) == finding(together)


def test_groups_of_a_session_that_took_no_turns_are_named(registry: Registry) -> None:
    found = faster(registry, timed("a", "x.0"), timed("b", "x.1"))
    assert found.verdict is Answer.SUPPORTED
    assert found.notes == ("a, b: images_per_second was measured one after the other, not in turn",)
    assert claims_notes([found]) == [f"c: {found.notes[0]}"]


def test_older_records_are_judged_with_a_note(registry: Registry) -> None:
    found = faster(registry, timed("a", ""), timed("b", ""))
    assert found.verdict is Answer.SUPPORTED
    assert found.notes == ("a, b: it is not known whether images_per_second was measured in one run",)
    alone = claim(registry, "trade", case="a", metric="", at_most={SPEED: 200})
    (found,) = judge([alone], [timed("a", "")], {"a": {}})
    assert found.notes == ()  # one case is compared with none


CLAIM = """\
seeds: [0, 1]
matrix:
  neck.name: [gap, flatten]
claims:
  fast:
    name: better
    sentence: Flatten is faster.
    case: {neck.name: flatten}
    than: {neck.name: gap}
    metric: images_per_second
"""


def test_an_evidence_file_keeps_the_session_that_most_cases_have(
    planned: Callable[..., Plan], registry: Registry, tmp_path: Path
) -> None:
    """The first seed of flatten was measured again, alone."""
    plan = planned(CLAIM)
    records = []
    for case in plan.cases:
        like = timed("a" if case.name == "flatten" else "b", "x.0", seed=case.seed)
        alone = {"turns": {SPEED: "y.0"}} if (case.name, case.seed) == ("flatten", 0) else like.measured
        made = planned_record(case, speed=like.speed, environment=like.environment, measured=alone)
        records.append(replace(made, finished=f"2026-01-0{case.seed + 1}"))
    path = save_evidence(plan.suite, records, {}, tmp_path)
    read = read_evidence(path)
    assert {record.turn(SPEED) for record in read.records} == {"x.0"}
    (found,) = claims_of_file(plan.suite, read, str(path), registry)
    assert found.verdict is Answer.SUPPORTED
    path.write_text(path.read_text().replace(', "turn": "x.0"', ""))  # as files were before
    (older,) = claims_of_file(plan.suite, read_evidence(path), str(path), registry)
    assert finding(older) == finding(found)
    assert older.notes == ("flatten, gap: it is not known whether images_per_second was measured in one run",)

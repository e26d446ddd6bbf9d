"""Evidence files: what the verdicts rest on, read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import planned_record

from mlbench.claims.evidence_files import read_evidence, save_evidence
from mlbench.claims.formats import claims_notes, claims_text
from mlbench.claims.judgement import Answer, Judgement
from mlbench.claims.looks import Looks
from mlbench.claims.suite_claims import claims_of_file, claims_of_store, looks_at, stored_records
from mlbench.errors import StoreError
from mlbench.planning.plan import Plan
from mlbench.records.record import Estimate, Record, Timing
from mlbench.records.store import Store
from mlbench.registry import Registry

SUITE = """\
seeds: [0, 1, 2]
matrix:
  neck.name: [gap, flatten]
claims:
  better:
    name: better
    sentence: Flatten is better.
    case: flatten
    than: gap
    metric: recall_at_1
    differ: [neck]
  fast:
    name: better
    sentence: Flatten is faster.
    case: {neck.name: flatten}
    than: {neck.name: gap}
    metric: images_per_second
  small:
    name: trade
    sentence: Gap is small.
    case: gap
    at_most: {bytes: 1e6}
"""


def made(case: Any, **facts: Any) -> Record:
    lead = 0.1 if case.name == "flatten" else 0.0
    metrics = {
        "recall_at_1": Estimate(0.5 + lead + case.seed / 100, unit=""),
        "f1": Estimate(0.123),
    }
    speed = {"images_per_second": Timing(101.0 + 50 * lead, (100.123456, 101.0 + 50 * lead, 103), "images/s")}
    given = {"metrics": metrics, "size": {"bytes": 400, "parameters": 100}, "speed": speed, **facts}
    return planned_record(case, environment={"device": "cpu", "cpu": "x", "secret": 1}, **given)


@pytest.fixture
def plan(planned: Callable[..., Plan]) -> Plan:
    return planned(SUITE)


def saved(plan: Plan, store: Store, folder: Path, looks: dict[str, list[Looks]] | None = None) -> Path:
    return save_evidence(plan.suite, stored_records(plan, store), looks or {}, folder)


@pytest.fixture
def store(plan: Plan, tmp_path: Path) -> Store:
    store = Store(tmp_path / "results", plan.suite.name)
    for case in plan.cases:
        store.put(made(case))
    return store


def verdicts(judgements: list[Judgement]) -> list[tuple[str, str, Any]]:
    return [(each.claim.id, each.verdict.value, each.finding) for each in judgements]


def test_judgements_are_the_same_from_the_file(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry
) -> None:
    path = saved(plan, store, tmp_path / "evidence")
    assert path.name == "toy.json"
    found = read_evidence(path)
    assert found.suite == "toy"
    assert found.environment == {"device": "cpu", "cpu": "x"}
    assert {name for record in found.records for name in record.metrics} == {"recall_at_1"}
    given, again = claims_of_store(plan, store), claims_of_file(plan.suite, found, str(path), registry)
    assert [each[:2] for each in verdicts(given)] == [each[:2] for each in verdicts(again)]
    assert [each.p for each in given] == pytest.approx([each.p for each in again], rel=1e-3)  # 5 digits
    assert again[0].finding == given[0].finding  # exactly
    assert again[2].finding == given[2].finding


def test_the_file_is_the_same_for_the_same_records(plan: Plan, store: Store, tmp_path: Path) -> None:
    texts = [saved(plan, store, tmp_path / name).read_text() for name in "ab"]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["cases"].keys() == {"flatten", "gap"}
    assert len(texts[0].splitlines()) < 40


def test_failures_and_missing_values_are_kept(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry
) -> None:
    for case in plan.cases:
        if case.name == "gap":
            store.put(made(case, status="failed", error="loss is nan", metrics={}, size={}, speed={}))
    path = saved(plan, store, tmp_path / "evidence")
    found = claims_of_file(plan.suite, read_evidence(path), str(path), registry)
    assert {each.reason for each in found} == {"gap failed: loss is nan"}
    assert [each.reason for each in claims_of_store(plan, store)] == [each.reason for each in found]


def test_a_file_of_other_settings_is_refused(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry, planned: Callable[..., Plan]
) -> None:
    path = saved(plan, store, tmp_path / "evidence")
    now = planned(SUITE, overrides=("recipe.lr=0.5",))
    with pytest.raises(StoreError, match=r"toy.json: 'flatten' had other settings; run the suite again"):
        claims_of_file(now.suite, read_evidence(path), str(path), registry)
    fine = planned(SUITE, overrides=("measure.rounds=3",))  # changes no metric
    assert claims_of_file(fine.suite, read_evidence(path), str(path), registry)


def test_an_option_that_came_later_has_its_default(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry
) -> None:
    path = saved(plan, store, tmp_path / "evidence")
    text = path.read_text()
    assert '"ema": 0.0, ' in text
    path.write_text(text.replace('"ema": 0.0, ', ""))
    assert claims_of_file(plan.suite, read_evidence(path), str(path), registry)


def test_cases_that_the_suite_lacks_now_are_left_out(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry, planned: Callable[..., Plan]
) -> None:
    path = saved(plan, store, tmp_path / "evidence")
    now = planned(
        SUITE.replace("[gap, flatten]", "[gap, flatten, squeeze]").replace("case: gap", "case: squeeze")
    )
    found = claims_of_file(now.suite, read_evidence(path), str(path), registry)
    assert found[2].reason == "squeeze was not run"


def test_looks_come_with_the_file(plan: Plan, store: Store, tmp_path: Path, registry: Registry) -> None:
    looks = looks_at(plan.suite.claims[0], plan.suite, stored_records(plan, store), (2, 3), 20)
    other = Looks((2, 3), 20, "another experiment")
    path = saved(plan, store, tmp_path / "a", {"better": [other, looks], "fast": [other]})
    found = claims_of_file(plan.suite, read_evidence(path), str(path), registry)
    assert [each.looks for each in found] == [looks, None, None]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"evidence": 0}', '{"evidence": 1, "suite": "x"}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=f"^{path}: "):
        read_evidence(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("settings", 5),
        ("metric recall_at_1", {"values": {"0": "high"}, "unit": "", "higher_is_better": True}),
        ("metric recall_at_1", {"values": {"0": True}, "unit": "", "higher_is_better": True}),
        ("speed images_per_second", {"value": 1, "rounds": ["fast"], "unit": "", "note": ""}),
        ("speed images_per_second", {"value": 1, "rounds": [0.0, 1.0], "unit": "", "note": ""}),
        ("size bytes", "400"),
    ],
)
def test_a_value_of_another_type_is_refused(
    plan: Plan, store: Store, tmp_path: Path, key: str, value: Any
) -> None:
    path = saved(plan, store, tmp_path / "evidence")
    data = json.loads(path.read_text())
    data["cases"]["gap"][key] = value
    path.write_text(json.dumps(data))
    with pytest.raises(StoreError, match=f"^{path}: not an evidence file"):
        read_evidence(path)


def test_the_file_of_another_suite_is_refused(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry
) -> None:
    found = replace(read_evidence(saved(plan, store, tmp_path)), suite="other")
    with pytest.raises(StoreError, match=r"^here: belongs to the suite 'other', not to 'toy'"):
        claims_of_file(plan.suite, found, "here", registry)


def test_speeds_of_a_disturbed_machine_are_named(
    plan: Plan, store: Store, tmp_path: Path, registry: Registry
) -> None:
    for record in store.read()[0]:
        if record.case == "gap":
            speed = replace(record.speed["images_per_second"], reference=(3.0, 3.0, 3.0))
            facts = {"speed": {"images_per_second": speed}, "measured": {"reference_minimum": 1.0}}
            store.put(replace(record, **facts))
    path = saved(plan, store, tmp_path / "evidence")
    for found in (
        claims_of_store(plan, store),
        claims_of_file(plan.suite, read_evidence(path), str(path), registry),
    ):
        assert [each.disturbed for each in found] == [(), ("gap",), ()]
        slowed = "fast: other work slowed the machine while these cases were measured: gap"
        assert slowed in claims_notes(found)
        assert f"  note: {slowed.removeprefix('fast: ')}" in list(claims_text(found))


def test_a_case_that_is_not_chosen_is_named_as_such(store: Store, planned: Callable[..., Plan]) -> None:
    better, *_ = claims_of_store(planned(SUITE, cases="gap"), store)
    assert better.verdict is Answer.NOT_MEASURABLE
    assert better.reason == "flatten is not among the chosen cases"


def test_a_renamed_record_precedes_a_failed_one(store: Store, planned: Callable[..., Plan]) -> None:
    text = SUITE.replace("[gap, flatten]", "{gap: gap, flat: flatten}").replace(": flatten", ": flat")
    renamed = planned(text.replace("flat: flat}", "flat: flatten}"))
    for case in renamed.cases:
        if case.name == "flat":
            store.put(planned_record(case, status="failed", error="no memory"))
    assert {record.status for record in stored_records(renamed, store)} == {"done"}


def test_renamed_cases_keep_their_records(plan: Plan, store: Store, planned: Callable[..., Plan]) -> None:
    text = SUITE.replace("[gap, flatten]", "{gap: gap, flat: flatten}").replace(": flatten", ": flat")
    renamed = planned(text.replace("flat: flat}", "flat: flatten}"))
    assert [case.name for case in renamed.cases][-1] == "flat"
    assert [each.verdict for each in claims_of_store(renamed, store)] == [
        each.verdict for each in claims_of_store(plan, store)
    ]


def test_records_of_other_settings_do_not_count(store: Store, planned: Callable[..., Plan]) -> None:
    now = planned(SUITE, overrides=("recipe.lr=0.5",))
    with pytest.raises(StoreError, match=r"no records of the suite 'toy' .*recipe.lr"):
        claims_of_store(now, store)


def test_a_case_that_this_size_lacks_is_not_measurable(store: Store, planned: Callable[..., Plan]) -> None:
    plan = planned(SUITE + "sizes: {cpu: {cases: {flatten: null}}, gpu: {}}\n")
    cpu = Store(store.folder.parent, plan.suite.name)
    assert plan.suite.name == "toy-cpu"
    for case in plan.cases:
        cpu.put(made(case))
    better, fast, small = claims_of_store(plan, cpu)
    assert better.reason == "this size of the suite has no case flatten"
    assert fast.reason == better.reason
    assert small.verdict is Answer.SUPPORTED


def test_chosen_seeds_count_alone(plan: Plan, store: Store) -> None:
    (first, *_) = claims_of_store(plan, store, [0, 2])
    assert first.finding is not None
    assert first.finding.effect.samples == 2


def test_a_seed_of_another_run_counts_too(plan: Plan, store: Store, planned: Callable[..., Plan]) -> None:
    for case in planned(SUITE, seeds=[8]).cases:
        store.put(made(replace(case)))
    (first, *_) = claims_of_store(plan, store)
    assert first.finding is not None
    assert first.finding.effect.samples == 4

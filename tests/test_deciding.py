"""Seeds are added until claims are decided, with every look kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from claim_studies import METRIC, claim, judged, records
from made_records import planned_record

from mlbench.claims.judgement import Answer, judge
from mlbench.claims.looks import Looks, read_looks
from mlbench.claims.suite_claims import claims_of_store
from mlbench.deciding import can_be_decided, decide, next_count, next_step
from mlbench.errors import StoreError
from mlbench.planning.plan import Plan
from mlbench.records.record import Estimate
from mlbench.records.store import Store
from mlbench.registry import Registry

SUITE = """\
seeds: [0, 1, 2]
matrix:
  neck.name: [gap, flatten, squeeze]
claims:
  clear: {name: better, sentence: x, case: flatten, than: gap, metric: recall_at_1, differ: [neck]}
  open: {name: better, sentence: x, case: squeeze, than: gap, metric: recall_at_1, differ: [neck]}
  exact: {name: trade, sentence: x, case: gap, at_most: {bytes: 100}}
"""


class Trainer:
    """Stores made-up records. values: metric by case name and seed; None for a failure."""

    def __init__(self, store: Store, values: Callable[[str, int], float | None]) -> None:
        self.store, self.values = store, values
        self.trained: list[list[tuple[str, int]]] = []

    def __call__(self, plan: Plan) -> None:
        self.trained.append([(case.name, case.seed) for case in plan.cases])
        for case in plan.cases:
            value = self.values(case.name, case.seed)
            facts = {} if value is not None else {"status": "failed", "error": "x"}
            metrics = {METRIC: Estimate(value)} if value is not None else {}
            self.store.put(
                planned_record(
                    case, metrics=metrics, size={"bytes": 50}, environment={"device": "cpu"}, **facts
                )
            )


def noisy(lead: Mapping[str, float]) -> Callable[[str, int], float]:
    """Values with noise that is the same in every run."""
    return lambda case, seed: (
        0.5 + lead.get(case, 0.0) + 0.01 * ((seed * 7 + sum(map(ord, case)) * seed) % 11 - 5)
    )


def decided(plan: Plan, store: Store, values: Callable[[str, int], float | None], most: int = 12) -> Trainer:
    trainer, notes = Trainer(store, values), []
    decide(plan, store, trainer, notes.append, most=most)
    trainer.notes = notes  # type: ignore[attr-defined]
    return trainer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", "toy")


def test_only_cases_of_open_claims_get_more_seeds(planned: Callable[..., Plan], store: Store) -> None:
    plan = planned(SUITE)
    trainer = decided(plan, store, noisy({"flatten": 1.0, "squeeze": 0.02}))
    assert len(trainer.trained[0]) == 9
    assert trainer.trained[1] == [("gap", 3), ("squeeze", 3)]
    assert {case for part in trainer.trained[1:] for case, _ in part} == {"gap", "squeeze"}
    assert trainer.notes[0] == "open: open; adding seed 3"  # type: ignore[attr-defined]
    looks = read_looks(store.folder)
    assert looks["clear"][0].counts == (3,)
    assert looks["open"][0].counts[:3] == (3, 4, 5)
    assert "exact" not in looks
    found = {each.claim.id: each for each in claims_of_store(plan, store)}
    assert found["clear"].verdict is Answer.SUPPORTED
    assert found["open"].looks == looks["open"][0]


def test_a_second_run_adds_nothing_and_keeps_the_looks(planned: Callable[..., Plan], store: Store) -> None:
    plan, values = planned(SUITE), noisy({"flatten": 1.0, "squeeze": 0.02})
    decided(plan, store, values)
    before = read_looks(store.folder)
    again = decided(plan, store, values, most=40)
    assert len(again.trained) == 1
    assert read_looks(store.folder) == before  # with the first `most`


def test_looks_at_other_experiments_do_not_count(planned: Callable[..., Plan], store: Store) -> None:
    decided(planned(SUITE), store, noisy({"flatten": 1.0, "squeeze": 0.02}))
    before = read_looks(store.folder)
    other = planned(SUITE, overrides=("recipe.lr=0.5",))
    decided(other, store, noisy({"flatten": 1.0, "squeeze": 1.0}))
    (found,) = [each for each in claims_of_store(other, store) if each.claim.id == "open"]
    assert found.looks is not None
    assert found.looks.counts == (3,)
    assert [each[0] for each in read_looks(store.folder).values()] == [each[0] for each in before.values()]


def test_seeds_that_fail_end_it_too(planned: Callable[..., Plan], store: Store) -> None:
    """Every seed that is added fails: no more samples come, and the looks still reach their end."""

    def values(case: str, seed: int) -> float | None:
        return noisy({"flatten": 1.0, "squeeze": 0.02})(case, seed) if seed < 3 else None

    decided(planned(SUITE), store, values, most=6)
    assert read_looks(store.folder)["open"][0].counts == (3, 4, 5, 6)


def test_a_claim_that_came_later_gets_the_seeds_that_others_have(
    planned: Callable[..., Plan], store: Store
) -> None:
    values = noisy({"flatten": 1.0, "squeeze": 0.02, "gem": 0.02})
    decided(planned(SUITE), store, values, most=5)
    more = "  late: {name: better, sentence: x, case: gem, than: gap, metric: recall_at_1, differ: [neck]}\n"
    plan = planned(SUITE.replace("squeeze]", "squeeze, gem]") + more)
    trainer = decided(plan, store, values, most=5)
    assert ("gem", 3) in trainer.trained[1]
    assert [case for case in trainer.trained[1] if case[0] == "gap"] == []  # it has them
    (late,) = [each for each in claims_of_store(plan, store) if each.claim.id == "late"]
    assert late.finding is not None
    assert late.looks is not None
    assert late.finding.effect.samples == late.looks.counts[-1]


def test_a_claim_about_one_case_gets_its_seeds(planned: Callable[..., Plan], store: Store) -> None:
    text = SUITE.partition("claims:")[0] + (
        "claims:\n  alone: {name: trade, sentence: x, case: gap, metric: recall_at_1, at_least: 0.5}\n"
    )
    trainer = decided(planned(text), store, noisy({}), most=12)
    assert trainer.trained[1] == [("gap", 3)]


def test_next_counts_grow_by_a_quarter() -> None:
    counts = [3]
    while counts[-1] < 20:
        counts.append(next_count(counts[-1], 20))
    assert counts == [3, 4, 5, 7, 9, 12, 15, 19, 20]


AXES: dict[str, dict[str, str]] = {"a": {}, "b": {}}


def test_the_next_step_is_a_look_at_all_open_claims(registry: Registry) -> None:
    rows = {"a": [0.0, 1.0, 2.0, -1.0, 1.0], "b": [0.0] * 5, "c": [9.0, 9.1, 9.2, 9.3, 9.4]}
    stated = [
        claim(registry, "better", "one", case="a", than="b"),
        claim(registry, "better", "two", case="a", than="b", by=0.1),
        claim(registry, "better", "done", case="c", than="b"),
    ]
    looks = {"one": Looks((3, 4), 20), "two": Looks((3,), 4), "done": Looks((3,), 20)}
    found = judge(stated, records(rows), {case: {} for case in rows}, seeds=range(3), looks=looks)
    step = next_step(found, range(3))
    assert step is not None
    assert [each.id for each in step.claims] == ["one", "two"]
    assert step.seeds == (0, 1, 2, 3, 4)
    assert {name: each.counts for name, each in step.looks.items()} == {"one": (3, 4, 5), "two": (3, 4)}


@pytest.mark.parametrize(
    ("row", "most", "expected"),
    [
        ([0.0, 1.0, 2.0], 20, True),
        ([0.0, 1.0, 2.0], 3, False),  # as many as there may be
        ([0.5], 20, True),  # nothing is known
        ([0.5] * 3, 20, True),
        ([0.5] * 3, 5, False),  # six equal samples are needed
        ([0.0] * 3, 20, False),  # at the bound
        ([5.0, 5.01, 5.02], 20, False),  # decided
    ],
)
def test_whether_more_seeds_can_decide_a_claim(
    registry: Registry, row: list[float], most: int, expected: bool
) -> None:
    (found,) = judged([claim(registry, "better", case="a", than="b")], {"a": row, "b": [0.0] * len(row)})
    assert can_be_decided(found, most) is expected


def test_what_no_number_of_seeds_decides_gets_none(registry: Registry) -> None:
    row = [0.001 * (-1) ** place for place in range(12)]
    rows = {"a": row, "b": [0.0] * 12}
    (narrow,) = judged([claim(registry, "better", case="a", than="b")], rows)
    assert not can_be_decided(narrow, 20)  # the ends of the interval are too near to the bound
    assert can_be_decided(narrow, 40)
    (missing,) = judged([claim(registry, "better", case="a", than="b", needs="cuda")], rows)
    assert not can_be_decided(missing, 20)


def test_looks_that_cannot_be_read_stop_it_before_any_training(
    planned: Callable[..., Plan], store: Store
) -> None:
    plan = planned(SUITE)
    decided(plan, store, noisy({"flatten": 0.3}), most=3)
    (path,) = store.folder.rglob("looks.json")
    path.write_text("{")
    trainer = Trainer(store, noisy({}))
    with pytest.raises(
        StoreError, match=r"looks\.json: cannot be read .*; delete it to test the claims anew$"
    ):
        decide(plan, store, trainer, print, most=3)
    assert trainer.trained == []

from __future__ import annotations

from dataclasses import replace

import pytest
from made_records import record, timed

from mlbench.records.record import Estimate, Record
from mlbench.regression.ranking import ranking_sentences

HEADINGS = {"recall_at_1": "Recall@1"}


def case(
    name: str, values: list[float], *, mb: float = 1.0, rounds: list[float] | None = None
) -> list[Record]:
    speed = timed(rounds or [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8])[0].speed
    return [
        record(
            seed,
            case=name,
            metrics={"recall_at_1": Estimate(value)},
            size={"bytes": int(mb * 1e6)},
            speed=speed,
            measured={"batch_size": 32, "threads": 1},
        )
        for seed, value in enumerate(values)
    ]


A = case("a", [0.90, 0.91, 0.92], mb=3)
B = case("b", [0.91, 0.90, 0.915], mb=2, rounds=[70.0, 71.0, 69.0, 70.5, 69.5, 70.2, 69.8])
C = case("c", [0.80, 0.81, 0.82], mb=1)


def sentences(*cases: list[Record], tolerance: float = 0.0) -> list[str]:
    return ranking_sentences(
        [each for group in cases for each in group], HEADINGS, {"recall_at_1": tolerance}
    )


def test_equal_cases_are_listed_with_the_smallest_and_the_fastest() -> None:
    assert sentences(C, A, B) == [
        "Recall@1: the best are equal within the noise of 3 seeds: a (0.910), b (0.908); "
        "of these, b is the smallest (2.00 MB) and a is the fastest (100 images/s)"
    ]
    assert sentences(A, B)[0].startswith(
        "Recall@1: all cases are equal within the noise of 3 seeds: a (0.910), b (0.908);"
    )


def test_speeds_within_noise_are_both_the_fastest() -> None:
    third = case("d", [0.905, 0.91, 0.915], mb=3, rounds=[99.0, 98.0, 100.0, 99.5, 98.5, 99.2, 98.8])
    assert sentences(A, B, third)[0].endswith("and a and d are the fastest (100 images/s)")


def test_a_case_better_by_more_than_noise_is_the_best() -> None:
    assert sentences(A, C) == ["Recall@1: a is the best (0.910), by more than noise"]
    assert "are equal" in sentences(A, C, tolerance=0.11)[0]


def test_a_metric_of_which_less_is_better_is_ranked_so() -> None:
    turned = [
        replace(each, metrics={"recall_at_1": replace(each.metrics["recall_at_1"], higher_is_better=False)})
        for each in (*A, *C)
    ]
    assert sentences(turned) == ["Recall@1: c is the best (0.810), by more than noise"]


@pytest.mark.parametrize(("high", "told"), [(0.84, "a is the best"), (0.86, "all cases are equal")])
def test_with_one_seed_intervals_over_classes_decide(high: float, told: str) -> None:
    def one(records: list[Record], low: float, high: float) -> list[Record]:
        value = records[0].metrics["recall_at_1"].value
        return [replace(records[0], metrics={"recall_at_1": Estimate(value, low, high)})]

    assert told in sentences(one(A, 0.85, 0.95), one(C, 0.75, high))[0]
    without = [replace(each[0], metrics={"recall_at_1": Estimate(v)}) for each, v in ((A, 0.9), (C, 0.1))]
    assert (
        "all cases are equal within their intervals over classes (1 seed)" in sentences(without)[0]
    )  # the noise is unknown


def test_several_data_sets_or_protocols_are_not_ranked() -> None:
    other = [replace(each, settings={"dataset": {"name": "other"}}) for each in C]
    assert sentences(A, other) == []
    protocol = [replace(each, evaluation={"protocol": {"gallery": "train"}}) for each in C]
    assert sentences(A, protocol) == []


def test_one_case_or_failed_ones_are_not_ranked() -> None:
    failed = [replace(each, status="failed") for each in C]
    assert sentences(A) == sentences(A, failed) == sentences() == []


def test_many_equal_cases_are_counted() -> None:
    cases = [case(f"c{n}", [0.9, 0.91, 0.92]) for n in range(8)]
    assert "c4 (0.910), and 3 more" in sentences(*cases)[0]


def test_a_case_without_a_value_in_some_seed_is_not_ranked() -> None:
    """Without the seeds that have no value it would be the best."""
    lucky = [*case("e", [0.99, 0.98]), replace(A[2], case="e", metrics={"recall_at_1": Estimate(None)})]
    assert sentences(A, C, lucky) == [
        "Recall@1: a is the best (0.910), by more than noise; "
        "not ranked, as a value is missing: e (1 of 3 seeds)"
    ]
    unmeasured = [replace(each, case="e", metrics={}) for each in A]
    assert sentences(A, C, unmeasured) == sentences(A, C)


def test_cases_with_other_seeds_are_not_ranked() -> None:
    later = [replace(each, case="later", seed=each.seed + 7) for each in C]
    (sentence,) = sentences(A, B, later)
    assert sentence.startswith(
        "Recall@1: all cases are equal within the noise of 3 seeds: a (0.910), b (0.908);"
    )
    assert sentence.endswith("; not ranked, as they have other seeds: later")

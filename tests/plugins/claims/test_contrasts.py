"""better, interaction and trend against scipy's tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from claim_studies import METRIC, claim, finding, judged, records
from scipy import stats

from mlbench.claims.evidence import Evidence
from mlbench.contracts.claims import Finding
from mlbench.errors import ClaimError
from mlbench.records.record import Record, Timing
from mlbench.registry import Registry

GENERATOR = np.random.default_rng(3)
A, B, C, D = GENERATOR.normal(0, 1, (4, 6)) + np.array([[1.0], [0.0], [0.2], [1.1]])
ROWS = {"a": A, "b": B, "c": C, "d": D}


def p_above(values: Any, bound: float = 0.0) -> float:
    return float(stats.ttest_1samp(values, bound, alternative="greater").pvalue)


def asked(registry: Registry, kind: str, known: list[Record], axes: Any, **options: Any) -> Finding:
    found: Finding = claim(registry, kind, **options).options.judge(Evidence(known, axes))
    return found


@pytest.mark.parametrize("by", [0.0, 0.4, -0.4])
def test_better_is_the_paired_t_test(registry: Registry, by: float) -> None:
    (found,) = judged([claim(registry, "better", case="a", than="b", by=by)], ROWS)
    effect = finding(found).effect
    oracle = stats.ttest_rel(A, B + by, alternative="greater")
    assert (effect.support, effect.refute) == pytest.approx((oracle.pvalue, 1 - oracle.pvalue))
    assert (effect.value, effect.bound, effect.label) == (pytest.approx((A - B).mean()), by, "a against b")


def test_better_averages_strata_with_equal_weight_in_each_seed(registry: Registry) -> None:
    axes = {
        "a": {"neck": "x", "data": "1"}, "b": {"neck": "y", "data": "1"},
        "c": {"neck": "x", "data": "2"}, "d": {"neck": "y", "data": "2"},
    }  # fmt: skip
    found = asked(registry, "better", records(ROWS), axes, case={"neck": "x"}, than={"neck": "y"})
    both = (A - B + C - D) / 2
    assert found.support == pytest.approx(p_above(both))
    assert [part.label for part in found.parts] == ["1", "2"]
    assert [part.support for part in found.parts] == pytest.approx([p_above(A - B), p_above(C - D)])


def test_an_interaction_that_flips_needs_both_sides(registry: Registry) -> None:
    given = {"here": ["a", "b"], "there": ["c", "d"], "by": 0.1}
    found = finding(judged([claim(registry, "interaction", **given)], ROWS)[0])
    here, there = A - B, D - C
    assert found.support == pytest.approx(max(p_above(here, 0.1), p_above(there, 0.1)))
    assert found.refute == pytest.approx(min(1, 2 * (1 - max(p_above(here, 0.1), p_above(there, 0.1)))))
    interaction = found.parts[-1]
    assert (interaction.label, interaction.bound) == ("interaction", 0)
    assert interaction.support == pytest.approx(p_above(here + there))


def test_an_interaction_without_a_flip_is_the_difference_of_the_leads(registry: Registry) -> None:
    given = {"here": ["a", "b"], "there": ["d", "c"], "by": 0.1, "flip": False}
    found = finding(judged([claim(registry, "interaction", **given)], ROWS)[0])
    assert found.support == pytest.approx(p_above((A - B) - (D - C), 0.1))
    assert [part.value for part in found.parts] == pytest.approx([(A - B).mean(), (D - C).mean()])


def test_a_trend_is_the_mean_slope_of_the_seeds(registry: Registry) -> None:
    found = finding(judged([claim(registry, "trend", cases=list("bcad"), by=0.1)], ROWS)[0])
    slopes = [np.polyfit(range(4), row, 1)[0] for row in np.stack([B, C, A, D], axis=1)]
    assert found.support == pytest.approx(p_above(slopes, 0.1))
    steps = [(C - B).mean(), (A - C).mean(), (D - A).mean()]
    assert [part.value for part in found.parts] == pytest.approx(steps)


def timed(name: str, rounds: dict[str, list[float]]) -> list[Record]:
    return [
        Record(suite="s", case=case, seed=seed, fingerprint=case, status="done",
               speed={name: Timing(row[0], tuple(row))}, size={"bytes": round(row[0])})
        for case, row in rounds.items() for seed in range(2)
    ]  # fmt: skip


ROUNDS = {"a": [110.0, 121, 130, 118, 122], "b": [100.0, 101, 103, 99, 108]}
PAIR = {"a": {}, "b": {}}


@pytest.mark.parametrize(("quantity", "sign"), [("images_per_second", 1), ("latency_p50", -1)])
def test_speeds_are_compared_by_the_ratios_of_rounds(registry: Registry, quantity: str, sign: int) -> None:
    options = {"case": "a", "than": "b", "metric": quantity, "by": 0.1}
    effect = asked(registry, "better", timed(quantity, ROUNDS), PAIR, **options).effect
    ratios = sign * np.log(np.array(ROUNDS["a"]) / np.array(ROUNDS["b"]))
    assert effect.support == pytest.approx(p_above(ratios, math.log(1.1)))
    assert (effect.kind, effect.unit, effect.samples) == ("rounds", "%", 5)
    assert (effect.value, effect.bound) == pytest.approx((math.exp(ratios.mean()) - 1, 0.1))
    interval = stats.ttest_1samp(ratios, 0).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((math.expm1(interval.low), math.expm1(interval.high)))


def test_sizes_are_exact(registry: Registry) -> None:
    given = {"case": "b", "than": "a", "metric": "bytes"}
    smaller = asked(registry, "better", timed("latency_p50", ROUNDS), PAIR, by=0.09, **given)
    assert (smaller.support, smaller.refute, smaller.effect.kind) == (0, 1, "exact")
    assert smaller.effect.value == pytest.approx(0.1)  # a has a tenth more than b
    far = asked(registry, "better", timed("latency_p50", ROUNDS), PAIR, by=0.11, **given)
    assert (far.support, far.refute) == (1, 0)


def test_no_speed_is_more_than_all_of_it_worse(registry: Registry) -> None:
    given = {"case": "b", "than": "a", "metric": "bytes", "by": -2.0}
    with pytest.raises(ClaimError, match="-2 is no share of a bytes; expected more than -1"):
        asked(registry, "better", timed("latency_p50", ROUNDS), PAIR, **given)


def test_strata_of_other_sizes_are_left_out_and_named(registry: Registry) -> None:
    axes = {
        "a": {"neck": "x", "data": "1"}, "b": {"neck": "y", "data": "1"},
        "e": {"neck": "x", "data": "2"}, "f": {"neck": "y", "data": "2"},
    }  # fmt: skip
    stated = claim(registry, "better", case={"neck": "x"}, than={"neck": "y"})
    evidence = Evidence(records({"a": A, "b": B}), axes, removed=["e", "f"])
    found = stated.options.judge(evidence)
    assert found.support == pytest.approx(p_above(A - B))
    assert list(evidence.notes) == ["this size of the suite leaves out 2"]
    assert METRIC in stated.options.quantities()

"""trade and table: every limit, and published numbers from both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from claim_studies import METRIC, claim, finding, judged, records
from scipy import stats

from mlbench.claims.evidence import Evidence
from mlbench.claims.judgement import Answer
from mlbench.contracts.claims import Finding
from mlbench.errors import OptionError
from mlbench.records.record import Estimate, Record, Timing
from mlbench.registry import Registry

A = np.array([0.80, 0.82, 0.81, 0.79])
B = np.array([0.81, 0.82, 0.83, 0.79])


def known(*, higher: bool = True) -> list[Record]:
    sizes, speeds = {"a": 500, "b": 1000}, {"a": [5.0, 5.2, 5.1], "b": [9.0, 9.9, 10.1]}
    return [
        Record(suite="s", case=case, seed=seed, fingerprint=case, status="done",
               metrics={METRIC: Estimate(float(value), higher_is_better=higher)}, size={"bytes": sizes[case]},
               speed={"latency_p50": Timing(5.0, tuple(speeds[case]))})
        for case, row in (("a", A), ("b", B)) for seed, value in enumerate(row)
    ]  # fmt: skip


def trade(registry: Registry, *, higher: bool = True, **options: Any) -> Finding:
    options = {"case": "a", **options}
    found: Finding = claim(registry, "trade", **options).options.judge(
        Evidence(known(higher=higher), {"a": {}, "b": {}})
    )
    return found


def above(values: Any, bound: float) -> float:
    return float(stats.ttest_1samp(values, bound, alternative="greater").pvalue)


def test_a_metric_alone_is_tested_against_its_least_value(registry: Registry) -> None:
    found = trade(registry, at_least=0.79)
    assert (found.support, found.effect.at_most) == (pytest.approx(above(A, 0.79)), False)


def test_a_metric_of_which_less_is_better_is_at_most_that(registry: Registry) -> None:
    found = trade(registry, at_least=0.79, higher=False)
    assert (found.support, found.effect.at_most) == (pytest.approx(1 - above(A, 0.79)), True)


def test_beside_another_case_it_is_the_difference(registry: Registry) -> None:
    assert trade(registry, than="b", at_least=-0.02).support == pytest.approx(above(A - B, -0.02))
    lower = trade(registry, than="b", at_least=-0.02, higher=False)
    assert lower.support == pytest.approx(above(B - A, -0.02))


@pytest.mark.parametrize(("limit", "holds"), [(500, True), (499.9, False)])
def test_a_size_is_at_most_its_limit(registry: Registry, limit: float, holds: bool) -> None:
    found = trade(registry, metric="", at_most={"bytes": limit})
    assert (found.support, found.refute) == (float(not holds), float(holds))


@pytest.mark.parametrize(("limit", "holds"), [(0.5, True), (0.49, False)])
def test_a_ratio_of_sizes_is_at_most_its_limit(registry: Registry, limit: float, holds: bool) -> None:
    found = trade(registry, metric="", than="b", at_most={"bytes": limit})
    assert (found.support, found.refute) == (float(not holds), float(holds))
    assert (found.effect.value, found.effect.unit) == (pytest.approx(0.5), "x")


def test_a_ratio_of_speeds_is_tested_by_rounds(registry: Registry) -> None:
    found = trade(registry, metric="", than="b", at_most={"latency_p50": 0.6})
    ratios = np.log(np.array([5.0, 5.2, 5.1]) / np.array([9.0, 9.9, 10.1]))
    assert found.support == pytest.approx(1 - above(ratios, np.log(0.6)))
    assert found.effect.kind == "rounds"


def test_every_limit_must_hold(registry: Registry) -> None:
    given = {"than": "b", "at_least": -0.02}
    cheap = trade(registry, **given, at_most={"bytes": 0.5})
    assert cheap.support == pytest.approx(above(A - B, -0.02))
    dear = trade(registry, **given, at_most={"bytes": 0.4})
    assert (dear.support, dear.refute, dear.effect.label) == (1, 0, "bytes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": METRIC}, "metric and at_least belong together"),
        ({"metric": "", "at_least": 0.5}, "metric and at_least belong together"),
        ({"metric": ""}, "nothing is claimed"),
        ({"metric": "", "at_most": {METRIC: 1.0}}, f"'{METRIC}' is no cost"),
        ({"metric": "", "at_most": {"byte": 1.0}}, r"'byte' is no cost; .*did you mean 'bytes'"),
    ],
)
def test_a_trade_has_limits(registry: Registry, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        claim(registry, "trade", case="a", **options)


def test_a_trade_of_one_case_names_it(registry: Registry) -> None:
    assert claim(registry, "trade", case="a", at_least=0.5).options.compared() == [["a"]]


def table(registry: Registry, published: float, within: float) -> Any:
    stated = claim(registry, "table", rows={"a": {METRIC: published}}, within={METRIC: within})
    return judged([stated], {"a": A})[0]


def test_a_published_number_is_tested_from_both_sides(registry: Registry) -> None:
    found = finding(table(registry, 0.82, 0.05))
    low, high = above(A, 0.77), 1 - above(A, 0.87)
    assert found.support == pytest.approx(max(low, high), abs=1e-6)


@pytest.mark.parametrize(
    ("published", "within", "verdict"),
    [
        (0.8, 0.1, Answer.SUPPORTED),
        (0.5, 0.1, Answer.REFUTED),
        (1.1, 0.1, Answer.REFUTED),
        (0.8, 0.01, Answer.INCONCLUSIVE),
        (0.8, 0.0, Answer.INCONCLUSIVE),
    ],
)
def test_verdicts_on_a_published_number(
    registry: Registry, published: float, within: float, verdict: Answer
) -> None:
    assert table(registry, published, within).verdict is verdict


def test_one_row_outside_its_tolerance_refutes_a_table(registry: Registry) -> None:
    rows = {"a": {METRIC: 0.8}, "b": {METRIC: 0.2}}
    stated = claim(registry, "table", rows=rows, within={METRIC: 0.1})
    (found,) = judged([stated], {"a": A, "b": B})
    assert found.verdict is Answer.REFUTED
    assert finding(found).effect.label == f"b {METRIC} (published 0.2)"
    assert [part.label for part in finding(found).parts] == [
        f"a {METRIC} (published 0.8)", f"b {METRIC} (published 0.2)"
    ]  # fmt: skip


def test_every_quantity_has_a_tolerance(registry: Registry) -> None:
    with pytest.raises(OptionError, match="table: no tolerance for 'f1'"):
        claim(registry, "table", rows={"a": {"f1": 0.8}}, within={METRIC: 0.1})


def test_every_row_has_a_number(registry: Registry) -> None:
    with pytest.raises(OptionError, match="'rows' of claim 'table'"):
        claim(registry, "table", rows={"a": {}}, within={METRIC: 0.1})


def test_values_are_read_from_done_records_alone(registry: Registry) -> None:
    (first, *rest) = records({"a": A})
    assert first.status == "done"
    found = claim(registry, "trade", case="a", at_least=0.5).options.judge(Evidence(rest, {"a": {}}))
    assert found.effect.samples == len(A) - 1

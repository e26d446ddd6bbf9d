"""Verdicts: each of them, each reason for none, and the correction for several claims."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claim_studies import METRIC, claim, finding, judged, records
from scipy import stats

from mlbench.claims.judgement import Answer, first_seeds, holm, judge, seed_order
from mlbench.claims.looks import Looks
from mlbench.claims.sequential import boundaries, sequential_p
from mlbench.errors import ComponentError
from mlbench.records.record import Estimate
from mlbench.registry import Registry

NOISE = [0.0, 0.01, -0.01, 0.02, -0.02]
AXES: dict[str, dict[str, str]] = {"a": {}, "b": {}}


def values(lead: float) -> dict[str, list[float]]:
    return {"a": [0.5 + lead + each for each in NOISE], "b": [0.5 + each / 2 for each in NOISE]}


def test_holm_as_computed_by_hand() -> None:
    """Four p-values times 4, 3, 2, 1 in rising order, and no less than the one before."""
    assert holm([0.04, 0.001, 0.02, 0.03]) == pytest.approx([0.06, 0.004, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("lead", "verdict"),
    [(0.3, Answer.SUPPORTED), (0.0, Answer.REFUTED), (0.1, Answer.INCONCLUSIVE)],
)
def test_each_verdict(registry: Registry, lead: float, verdict: Answer) -> None:
    stated = claim(registry, "better", case="a", than="b", by=0.1)
    (found,) = judged([stated], values(lead))
    assert found.verdict is verdict
    oracle = stats.ttest_rel(values(lead)["a"], [each + 0.1 for each in values(lead)["b"]])
    assert found.p == pytest.approx(oracle.pvalue)
    assert bool(found.reason) == (verdict is Answer.INCONCLUSIVE)


def test_a_verdict_is_corrected_for_the_other_claims(registry: Registry) -> None:
    """p = .03 alone decides; as one of two open claims it does not."""
    rows = {"a": [0.2, 0.9, 1.2, 1.6], "b": [0.0] * 4, "c": [1.0, -1, 1, -1]}
    first = claim(registry, "better", "first", case="a", than="b")
    other = claim(registry, "better", "other", case="c", than="b")
    (alone,) = judged([first], rows)
    assert 0.025 < alone.p < 0.05
    assert alone.verdict is Answer.SUPPORTED
    both = judged([first, other], rows)
    assert [each.verdict for each in both] == [Answer.INCONCLUSIVE] * 2
    assert both[0].p == pytest.approx(2 * alone.p)


def seeds_said(reason: str) -> int:
    return int(reason.split()[0])


def test_the_seeds_that_would_decide_it_are_those_after_the_correction(registry: Registry) -> None:
    rows = {"a": [0.0, 1.0, 2.0, -1.0], "b": [0.0] * 4, "c": [1.0, -1, 1, -1]}
    first = claim(registry, "better", "first", case="a", than="b")
    other = claim(registry, "better", "other", case="c", than="b")
    alone, both = judged([first], rows)[0], judged([first, other], rows)[0]
    spread = np.std(rows["a"], ddof=1)

    def power(count: int, level: float) -> float:
        critical = stats.t.isf(level / 2, count - 1)
        return float(stats.nct.sf(critical, count - 1, 0.5 / spread * math.sqrt(count)))

    for judgement, level in ((alone, 0.05), (both, 0.025)):
        needed = 4 + seeds_said(judgement.reason)
        assert power(needed, level) >= 0.8 > power(needed - 1, level)


def missing(registry: Registry, **options: Any) -> Any:
    return claim(registry, "better", case="a", than="b", **options)


def test_no_record_of_a_case(registry: Registry) -> None:
    (found,) = judge([missing(registry)], records({"a": [1.0, 2]}), AXES)
    assert (found.verdict, found.reason) == (Answer.NOT_MEASURABLE, "there is no record of b")
    (found,) = judge([missing(registry)], records({"a": [1.0]}), AXES, absent={"b": "b: no record, data"})
    assert found.reason == "b: no record, data"
    assert found.finding is None


def test_a_case_that_failed(registry: Registry) -> None:
    known = [replace(each, status="failed", error="loss is nan") if each.case == "b" else each
             for each in records({"a": [1.0, 2], "b": [1.0, 2]})]  # fmt: skip
    (found,) = judge([missing(registry)], known, AXES)
    assert (found.verdict, found.reason) == (Answer.NOT_MEASURABLE, "b failed: loss is nan")


def test_a_seed_that_failed_does_not_count_and_is_named(registry: Registry) -> None:
    known = [replace(each, status="failed", error="x") if (each.case, each.seed) == ("b", 1) else each
             for each in records(values(0.3))]  # fmt: skip
    (found,) = judge([missing(registry)], known, AXES)
    assert (finding(found).effect.samples, found.failed) == (4, (1,))


def test_a_seed_that_only_one_case_ran_with_is_no_failure(registry: Registry) -> None:
    known = [each for each in records(values(0.3)) if (each.case, each.seed) != ("b", 1)]
    (found,) = judge([missing(registry)], known, AXES)
    assert (finding(found).effect.samples, found.failed) == (4, ())


def test_a_case_that_the_size_removed(registry: Registry) -> None:
    (found,) = judge([missing(registry)], records({"a": [1.0, 2]}), AXES, removed=["b"])
    assert found.reason == "this size of the suite has no case b"


def test_a_claim_that_needs_cuda(registry: Registry) -> None:
    (found,) = judged([missing(registry, needs="cuda")], values(0.3))
    assert found.verdict is Answer.NOT_MEASURABLE
    assert found.reason == "it needs a cuda device, and the records are from cpu"
    known = [replace(each, environment={"device": "cuda:0"}) for each in records(values(0.3))]
    (found,) = judge([missing(registry, needs="cuda")], known, AXES)
    assert found.verdict is Answer.SUPPORTED


def test_a_quantity_that_is_missing_or_could_not_be_measured(registry: Registry) -> None:
    (found,) = judge([missing(registry, metric="images_per_second")], records(values(0.1)), AXES)
    assert found.reason == "a has no images_per_second"
    known = [
        replace(each, metrics={METRIC: Estimate(None, note="no positives")}) for each in records(values(0))
    ]
    (found,) = judge([missing(registry)], known, AXES)
    assert found.reason == f"a has no {METRIC} (no positives)"


def test_no_seed_in_common(registry: Registry) -> None:
    known = [each for each in records(values(0)) if (each.case == "a") == (each.seed < 2)]
    (found,) = judge([missing(registry)], known, AXES)
    assert found.reason == f"a, b have no seed in common with a value of {METRIC}"


def test_a_claim_without_a_verdict_does_not_count_for_the_correction(registry: Registry) -> None:
    stated = [claim(registry, "better", "a", case="a", than="b", by=0.25), missing(registry, needs="cuda")]
    both, alone = judged(stated, values(0.3)), judged(stated[:1], values(0.3))
    assert both[0].p == alone[0].p


def test_a_single_seed_says_so(registry: Registry) -> None:
    (found,) = judged([missing(registry)], {"a": [1.0], "b": [0.0]})
    assert (found.verdict, found.reason) == (Answer.INCONCLUSIVE, "1 seed; at least 3 are needed")


def test_an_effect_at_its_bound_is_never_decided(registry: Registry) -> None:
    (found,) = judged([missing(registry)], {"a": [0.5] * 4, "b": [0.5] * 4})
    assert found.reason == "no number of seeds up to 1,000 would decide an effect of this size"


def test_equal_samples_say_how_many_would_do(registry: Registry) -> None:
    (found,) = judged([missing(registry)], {"a": [0.6] * 4, "b": [0.5] * 4})
    assert found.reason == "2 more seeds would decide an effect of this size (80 % power)"
    (found,) = judged([missing(registry)], {"a": [0.6] * 6, "b": [0.5] * 6})
    assert found.verdict is Answer.SUPPORTED


def test_an_error_in_a_plugin_is_no_missing_record(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = missing(registry)
    monkeypatch.setattr(type(stated.options), "judge", lambda self, evidence: 1 / 0)
    with pytest.raises(ComponentError, match="judge failed"):
        judged([stated], values(0))


def test_less_is_better_for_some_metrics(registry: Registry) -> None:
    (found,) = judge([missing(registry)], records(values(-0.3), higher=False), AXES)
    assert (found.verdict, finding(found).effect.value > 0) == (Answer.SUPPORTED, True)


def test_seed_order_and_first_seeds() -> None:
    known = [replace(each, seed=each.seed + 7) for each in records({"a": [1.0, 2]})]
    assert seed_order(known, [3, 1]) == [3, 1, 7, 8]
    assert first_seeds([3, 1], 4) == [3, 1, 4, 5]
    assert first_seeds([3, 1, 2], 2) == [3, 1]


def test_looks_use_their_seeds_and_the_level_of_the_look(registry: Registry) -> None:
    generator = np.random.default_rng(2)
    rows = {"a": generator.normal(0.8, 1, 12), "b": generator.normal(0, 1, 12)}
    stated = missing(registry)
    looks = Looks((3, 5, 9), 20)
    (found,) = judge([stated], records(rows), AXES, seeds=range(3), looks={"c": looks})
    effect = finding(found).effect
    assert effect.samples == 9
    p_values = [float(stats.ttest_rel(rows["a"][:n], rows["b"][:n]).pvalue) for n in looks.counts]
    assert all(np.mean((rows["a"] - rows["b"])[:n]) > 0 for n in looks.counts)
    assert found.p == pytest.approx(sequential_p(p_values, looks.counts, 20))
    level = 1 - boundaries(looks.counts, 20, 0.05)[-1]
    interval = stats.ttest_rel(rows["a"][:9], rows["b"][:9]).confidence_interval(level)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert found.looks == looks


def test_a_look_at_the_other_side_does_not_count(registry: Registry) -> None:
    """Three seeds refute it, nine point the other way: nothing is shown."""
    lead = [-1.0, -1.0001, -0.9999, 5, 6, 7, 8, 5, 6]
    rows = {"a": lead, "b": [0.0] * 9}
    (first,) = judge([missing(registry)], records(rows), AXES, seeds=range(3), looks={"c": Looks((3,), 20)})
    assert first.verdict is Answer.REFUTED
    (found,) = judge([missing(registry)], records(rows), AXES, seeds=range(3), looks={"c": Looks((3, 9), 20)})
    assert (found.verdict, finding(found).effect.value > 0) == (Answer.INCONCLUSIVE, True)

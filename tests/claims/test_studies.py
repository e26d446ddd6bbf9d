"""Studies of made-up values with a known truth: how often verdicts are wrong, found, and intervals right.

Every bound is the promised rate and two and a half standard deviations of the share of so many studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from claim_studies import METRIC, claim, covers, decided, draws, finding, judged, repeated, share

from mlbench.claims.judgement import Answer, Judgement
from mlbench.planning.claims import Claim
from mlbench.registry import Registry
from mlbench.regression.statistics import samples_needed, t_power

#: Studies of each test; of the slow ones.
FEW, MANY = 100, 1000

_COUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
studies = pytest.mark.parametrize("count", _COUNTS)


def most(rate: float, count: int) -> float:
    return float(rate + 2.5 * np.sqrt(rate * (1 - rate) / count))


def near(rate: float, count: int, tolerance: float) -> Any:
    return pytest.approx(rate, abs=tolerance + 2.5 * np.sqrt(rate * (1 - rate) / count))


def verdicts(
    stated: Claim, count: int, means: dict[str, float], seeds: int, *, noise: float = 1.0
) -> list[Answer]:
    def study(generator: np.random.Generator) -> Answer:
        return judged([stated], draws(generator, means, seeds, noise=noise, shared=noise))[0].verdict

    return repeated(count, 1, study)


def supported(found: Sequence[Answer]) -> float:
    return share([each is Answer.SUPPORTED for each in found])


def refuted(found: Sequence[Answer]) -> float:
    return share([each is Answer.REFUTED for each in found])


def is_wrong(judgement: Judgement, *, holds: bool) -> bool:
    """Whether a verdict is wrong on a claim that holds clearly, or else whose truth is its bound."""
    wrong = {Answer.REFUTED} if holds else {Answer.REFUTED, Answer.SUPPORTED}
    return judgement.verdict in wrong


SMALL, LARGE = list("abcd"), list("efgh")

#: Claims that are just not true, or just true: kind, options, true values of the cases, seeds.
NULLS: list[Any] = [
    pytest.param("better", {"case": "a", "than": "b"}, {"a": 0, "b": 0}, 3, id="better-3"),
    pytest.param("better", {"case": "a", "than": "b"}, {"a": 0, "b": 0}, 10, id="better-10"),
    pytest.param("better", {"case": "a", "than": "b", "by": 0.5}, {"a": 0.5, "b": 0}, 5, id="better-by"),
    pytest.param(
        "interaction",
        {"here": ["a", "b"], "there": ["c", "d"]},
        {"a": 0, "b": 0, "c": 0, "d": 9},
        5,
        id="flip-here-alone",
    ),
    pytest.param(
        "interaction",
        {"here": ["a", "b"], "there": ["c", "d"]},
        dict.fromkeys("abcd", 0),
        5,
        id="flip-nothing",
    ),
    pytest.param(
        "interaction",
        {"here": ["a", "b"], "there": ["c", "d"], "flip": False, "by": 1},
        {"a": 3, "b": 1, "c": 1, "d": 0},
        5,
        id="interaction",
    ),
    pytest.param("trend", {"cases": SMALL}, dict.fromkeys(SMALL, 0), 5, id="trend"),
    pytest.param(
        "transfer",
        {"small": SMALL, "large": LARGE, "of": "gains"},
        dict(zip(SMALL + LARGE, [0, 1, 1, 1, 0, 1, 9, 9], strict=True)),
        5,
        id="gains-one",
    ),
    pytest.param(
        "transfer",
        {"small": SMALL, "large": LARGE, "of": "gains"},
        dict(zip(SMALL + LARGE, [0, 1, 1, 1, 0, 1, 1, 1], strict=True)),
        5,
        id="gains-all",
    ),
    pytest.param(
        "table",
        {"rows": {"a": {METRIC: 0}, "b": {METRIC: 0}}, "within": {METRIC: 5}},
        {"a": 5, "b": 0},
        5,
        id="table-one-at-its-limit",
    ),
    pytest.param(
        "table",
        {"rows": {"a": {METRIC: 0}, "b": {METRIC: 0}}, "within": {METRIC: 5}},
        {"a": 5, "b": -5},
        5,
        id="table-all-at-their-limits",
    ),
]


@studies
@pytest.mark.parametrize(("kind", "options", "means", "seeds"), NULLS)
def test_claims_at_their_bound_are_seldom_decided(
    registry: Registry, kind: str, options: dict[str, Any], means: dict[str, float], seeds: int, count: int
) -> None:
    found = verdicts(claim(registry, kind, **options), count, means, seeds)
    assert supported(found) <= most(0.025, count)
    assert refuted(found) <= most(0.025, count)


@studies
@pytest.mark.parametrize("differences", [0.0, 1.0])
def test_rankings_of_variants_without_a_relation_are_seldom_decided(
    registry: Registry, differences: float, count: int
) -> None:
    stated = claim(registry, "transfer", small=list("abcde"), large=list("fghij"))

    def study(generator: np.random.Generator) -> Answer:
        means = dict(zip("abcdefghij", differences * generator.standard_normal(10), strict=True))
        return judged([stated], draws(generator, means, 4, noise=0.2))[0].verdict

    found = repeated(count // 4, 2, study)
    assert supported(found) <= most(0.025, count // 4)
    assert refuted(found) <= most(0.025, count // 4)


@studies
def test_one_of_ten_claims_is_seldom_wrong(registry: Registry, count: int) -> None:
    """Five of them hold clearly; for five, of which some share a case, the truth is the bound."""
    stated = [
        *(claim(registry, "better", f"true{each}", case="best", than=each) for each in "abcde"),
        *(claim(registry, "better", f"null{each}", case=each, than="a") for each in "bcde"),
        claim(registry, "trend", "trend", cases=list("abcde")),
    ]
    means = {**dict.fromkeys("abcde", 0.0), "best": 9.0}

    def study(generator: np.random.Generator) -> bool:
        found = judged(stated, draws(generator, means, 6))
        return any(is_wrong(each, holds="true" in each.claim.id) for each in found)

    assert share(repeated(count // 2, 3, study)) <= most(0.05, count // 2)


@studies
@pytest.mark.parametrize(("effect", "noise"), [(1.0, 0.5), (0.6, 0.6)])
def test_the_planned_number_of_seeds_has_the_planned_power(
    registry: Registry, effect: float, noise: float, count: int
) -> None:
    spread = noise * np.sqrt(2)
    needed = samples_needed(spread, effect)
    assert needed is not None
    stated = claim(registry, "better", case="a", than="b")
    found = verdicts(stated, count, {"a": effect, "b": 0}, needed, noise=noise)
    assert supported(found) == near(t_power(needed, effect / spread, 0.95), count, 0.0)
    assert supported(found) == near(0.8, count, 0.05)  # a whole number of seeds has a little more


#: What an interval is of: kind, options, axes, true values, truth.
DATA = {"data": "1"}, {"data": "2"}
INTERVALS: list[Any] = [
    pytest.param("better", {"case": "a", "than": "b"}, None, {"a": 1, "b": 0}, 1, id="better"),
    pytest.param("trend", {"cases": list("abc")}, None, {"a": 0, "b": 1, "c": 5}, 2.5, id="trend"),
    pytest.param(
        "interaction",
        {"here": ["a", "b"], "there": ["c", "d"], "flip": False},
        None,
        {"a": 3, "b": 1, "c": 1, "d": 0},
        1,
        id="interaction",
    ),
    pytest.param(
        "better",
        {"case": {"n": "x"}, "than": {"n": "y"}},
        {
            "a": {"n": "x", **DATA[0]},
            "b": {"n": "y", **DATA[0]},
            "c": {"n": "x", **DATA[1]},
            "d": {"n": "y", **DATA[1]},
        },
        {"a": 3, "b": 1, "c": 1, "d": 0},
        1.5,
        id="strata",
    ),
]


@studies
@pytest.mark.parametrize(("kind", "options", "axes", "means", "truth"), INTERVALS)
def test_intervals_cover_the_truth(
    registry: Registry, kind: str, options: Any, axes: Any, means: Any, truth: float, count: int
) -> None:
    stated = claim(registry, kind, **options)

    def study(generator: np.random.Generator) -> bool:
        return covers(finding(judged([stated], draws(generator, means, 5), axes)[0]).effect, truth)

    assert share(repeated(count, 4, study)) == near(0.95, count, 0.0)


def until_decided(registry: Registry, count: int, effect: float, seed: int) -> list[tuple[Answer, bool, int]]:
    stated = claim(registry, "better", case="a", than="b")

    def study(generator: np.random.Generator) -> tuple[Answer, bool, int]:
        rows = draws(generator, {"a": effect, "b": 0}, 20)
        (found,) = decided([stated], rows, start=3, most=20)
        part = finding(found).effect
        return found.verdict, covers(part, effect), part.samples

    return repeated(count, seed, study)


@studies
def test_adding_seeds_keeps_the_error_rate_and_the_coverage(registry: Registry, count: int) -> None:
    found = until_decided(registry, count, 0.0, 5)
    assert share([verdict is not Answer.INCONCLUSIVE for verdict, _, _ in found]) <= most(0.05, count)
    assert share([covered for _, covered, _ in found]) >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / count)


@studies
def test_adding_seeds_finds_a_clear_effect_early(registry: Registry, count: int) -> None:
    found = until_decided(registry, count, 3.0, 6)
    assert share([verdict is Answer.SUPPORTED for verdict, _, _ in found]) >= 0.97
    assert np.mean([samples for _, _, samples in found]) < 10
    assert share([covered for _, covered, _ in found]) >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / count)


@studies
def test_adding_seeds_to_several_claims_keeps_the_error_rate_of_all(registry: Registry, count: int) -> None:
    stated = [claim(registry, "better", each, case=each, than="z") for each in "abcd"]
    stated.append(claim(registry, "better", "clear", case="best", than="z"))
    means = {**dict.fromkeys("abcdz", 0.0), "best": 4.0}

    def study(generator: np.random.Generator) -> bool:
        found = decided(stated, draws(generator, means, 12), start=3, most=12)
        return any(is_wrong(each, holds=each.claim.id == "clear") for each in found)

    assert share(repeated(count // 4, 7, study)) <= most(0.05, count // 4)

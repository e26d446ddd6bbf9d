"""transfer: correlations against scipy, permutation tests against all orders, gains against t tests."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from claim_studies import claim, draws, finding, judged, records
from scipy import stats

from mlbench.claims.judgement import Answer, judge
from mlbench.claims.looks import Looks
from mlbench.claims.sequential import boundaries
from mlbench.deciding import can_be_decided
from mlbench.errors import OptionError
from mlbench.registry import Registry
from mlbench_claims.correlations import CORRELATIONS, least_tail, mean_draws, permutation_tails

ORACLES = {
    "spearman": lambda a, b: stats.spearmanr(a, b).statistic,
    "kendall": lambda a, b: stats.kendalltau(a, b).statistic,
    "pearson": lambda a, b: stats.pearsonr(a, b).statistic,
}
TIED = (np.array([1.0, 2, 2, 3, 5, 5]), np.array([2.0, 1, 2, 4, 4, 4]))


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(4))
def test_correlations_as_by_scipy(name: str, seed: int) -> None:
    pair = TIED if seed == 0 else np.random.default_rng(seed).normal(size=(2, 4 + seed))
    assert CORRELATIONS[name](*pair) == pytest.approx(ORACLES[name](*pair))


@pytest.mark.parametrize("name", ORACLES)
def test_correlations_of_many_rows_and_of_equal_values(name: str) -> None:
    rows = np.random.default_rng(1).normal(size=(2, 7, 5))
    assert CORRELATIONS[name](*rows) == pytest.approx([ORACLES[name](*pair) for pair in rows.swapaxes(0, 1)])
    assert CORRELATIONS[name](np.ones(5), np.arange(5.0)) == 0


@pytest.mark.parametrize("name", ORACLES)
def test_permutation_tails_as_by_all_orders(name: str) -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 5))
    given = ORACLES[name](a, b)
    every = [ORACLES[name](a, np.array(order)) for order in permutations(b)]
    tails = permutation_tails(a, b, name, np.random.default_rng(0))
    above = sum(each >= given - 1e-9 for each in every) / 120
    below = sum(each <= given + 1e-9 for each in every) / 120
    assert tails == pytest.approx((above, below))
    assert least_tail(5) == 1 / 120


def test_permutation_tails_of_many_variants_are_drawn() -> None:
    a = np.arange(9.0)
    assert permutation_tails(a, a, "spearman", np.random.default_rng(0))[0] == pytest.approx(1 / 5041)
    assert least_tail(9) == 1 / 5041
    assert permutation_tails(a, -a, "spearman", np.random.default_rng(0))[0] == 1


def test_draws_of_means_have_students_intervals() -> None:
    generator = np.random.default_rng(2)
    samples = generator.normal(size=(4, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0.2], [0, 0, 1]])
    weights = np.array([1.0, -1, 0.5])
    drawn = mean_draws(samples, 100_000, generator) @ weights
    interval = stats.ttest_1samp(samples @ weights, 0).confidence_interval(0.95)
    width = interval.high - interval.low
    found = np.quantile(drawn, [0.025, 0.975])
    assert found == pytest.approx([interval.low, interval.high], abs=0.03 * width)


SMALL, LARGE = list("abcde"), list("fghij")
GAINS = dict(zip(SMALL + LARGE, [0, 1, 2, 3, 4, 10, 12, 14, 16, 18], strict=True))


def transfer_draws(noise: float, gains: dict[str, float] = GAINS, seeds: int = 5) -> dict[str, np.ndarray]:
    return draws(np.random.default_rng(0), gains, seeds, noise=noise)


def test_a_clear_ranking_is_supported_and_its_reverse_refuted(registry: Registry) -> None:
    (found,) = judged([claim(registry, "transfer", small=SMALL, large=LARGE)], transfer_draws(0.01))
    assert found.verdict is Answer.SUPPORTED
    assert finding(found).effect.value == 1
    assert finding(found).support == pytest.approx(1 / 120)  # of all orders; the noise is far smaller
    assert finding(found).effect.label == "Spearman correlation of 5 variants"
    (found,) = judged([claim(registry, "transfer", small=SMALL, large=LARGE[::-1])], transfer_draws(0.01))
    assert found.verdict is Answer.REFUTED


def test_a_ranking_within_the_noise_is_inconclusive(registry: Registry) -> None:
    (found,) = judged([claim(registry, "transfer", small=SMALL, large=LARGE)], transfer_draws(20.0))
    assert found.verdict is Answer.INCONCLUSIVE
    assert found.reason == "5 seeds do not decide it; it is not known how many would"


def test_four_variants_are_too_few(registry: Registry) -> None:
    (found,) = judged([claim(registry, "transfer", small=SMALL[:4], large=LARGE[:4])], transfer_draws(0.01))
    assert (found.verdict, finding(found).support) == (Answer.INCONCLUSIVE, pytest.approx(1 / 24))
    assert found.reason == "4 variants have too few orders for a verdict on their ranking; 5 are needed"


def test_four_variants_do_not_count_among_the_claims(registry: Registry) -> None:
    """Whatever the values are: no order of four variants has a two-sided p-value below 2 / 24."""
    ranking = claim(registry, "transfer", "ranking", small=SMALL[:4], large=LARGE[:4])
    other = claim(registry, "better", "other", case="a", than="b")
    for noise in (0.01, 20.0):
        values = transfer_draws(noise)
        (alone,) = judged([other], values)
        found, beside = judged([ranking, other], values)
        assert (beside.p, beside.verdict) == (alone.p, alone.verdict)
        assert (found.p, found.verdict) == (1.0, Answer.INCONCLUSIVE)
        assert not can_be_decided(found, 100)


def test_five_variants_count_and_say_what_is_too_few_beside_others(registry: Registry) -> None:
    ranking = claim(registry, "transfer", "ranking", small=SMALL, large=LARGE)
    others = [claim(registry, "better", f"o{n}", case="a", than="b", by=100.0) for n in range(3)]
    values = transfer_draws(0.01)
    found, *_ = judged([ranking, *others], values)
    assert found.p == pytest.approx(2 / 120)  # the others are refuted, and so decided first
    values["b"] = values["a"] + np.array([0.0, 1, -1, 1, -1])
    others = [claim(registry, "better", f"o{n}", case="a", than="b") for n in range(3)]
    found, *_ = judged([ranking, *others], values)
    assert found.reason == (
        "its p-value is at least 0.017 with any number of seeds, and 0.013 is needed among the open claims"
    )


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ((3, 4), 5, True),
        ((3,), 20, False),  # with so many looks none may
    ],
)
def test_looks_whose_share_no_order_reaches_add_no_seeds(
    registry: Registry, counts: tuple[int, ...], most: int, expected: bool
) -> None:
    ranking = claim(registry, "transfer", small=SMALL, large=LARGE)
    known = records(transfer_draws(20.0))
    axes = {case: {} for case in (*SMALL, *LARGE)}
    (found,) = judge([ranking], known, axes, seeds=range(3), looks={"c": Looks(counts, most)})
    bounds = boundaries([*counts, *range(counts[-1] + 1, most + 1)], most, 0.05)[len(counts) :]
    assert (max(bounds) >= 2 / 120) is expected
    assert can_be_decided(found, most) is expected


@pytest.mark.parametrize("name", ["kendall", "pearson"])
def test_the_chosen_correlation_decides(registry: Registry, name: str) -> None:
    stated = claim(registry, "transfer", small=SMALL, large=LARGE, correlation=name)
    (found,) = judged([stated], transfer_draws(0.01))
    assert finding(found).effect.label.startswith(name.capitalize())
    assert len(finding(found).parts) == 2 + 8


def test_gains_are_tested_each_by_itself(registry: Registry) -> None:
    rows = transfer_draws(1.0)
    (found,) = judged([claim(registry, "transfer", small=SMALL, large=LARGE, of="gains", within=0.3)], rows)
    growth = [(rows[h] - rows["f"]) - (rows[s] - rows["a"]) for s, h in zip("bcde", "ghij", strict=True)]
    p_values = [stats.ttest_1samp(each, -0.3, alternative="greater").pvalue for each in growth]
    assert finding(found).support == pytest.approx(max(p_values))
    assert finding(found).refute == pytest.approx(min(1, 4 * (1 - max(p_values))))


def test_a_single_seed_shows_nothing(registry: Registry) -> None:
    (found,) = judged([claim(registry, "transfer", small=SMALL, large=LARGE)], transfer_draws(0.1, seeds=1))
    assert found.reason == "1 seed; at least 3 are needed"


def test_rows_share_no_case(registry: Registry) -> None:
    with pytest.raises(OptionError, match="transfer: compares 'a' with itself"):
        claim(registry, "transfer", small=SMALL, large=["a", *LARGE[1:]])


def test_rows_have_equal_lengths(registry: Registry) -> None:
    with pytest.raises(OptionError, match="small has 5 cases and large 4; expected as many"):
        claim(registry, "transfer", small=SMALL, large=LARGE[:4])

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from made_records import record

from mlbench.records.record import Estimate, Record
from mlbench.tuning import report
from mlbench.tuning.outcome import Outcome, Spread
from mlbench.tuning.trial import Trial

SPACE = {
    "loss.margin": {"low": 0.0, "high": 0.5, "log": False, "step": None},
    "neck": {"choices": ["gap", "gem"]},
}


def facts(*, higher: bool = True, seeds: Sequence[int] = (0,)) -> dict[str, Any]:
    section = {
        "case": "a",
        "objective": "f1",
        "seeds": list(seeds),
        "repeats": 3,
        "pruning": True,
        "space": SPACE,
    }
    return {
        "suite": "toy",
        "file": "toy.yaml",
        "higher": higher,
        "options": ["--limit", "9"],
        "section": section,
    }


def made(calibration: float, test: float | None, case: str, seed: int = 0, width: float = 0.2) -> Record:
    """A record that kept the second epoch, with this score, and this value of its test."""
    ends = () if test is None else (test - width / 2, test + width / 2)
    return record(
        seed,
        case=case,
        metrics={"f1": Estimate(test, *ends)},
        settings={
            "recipe": {"select_by": "f1", "evaluate_every": 1, "epochs": 2},
            "loss": {"margin": 0.125},
            "neck": "gap",
        },
        training={"best_epoch": 2, "curves": {"calibration_f1": [0.0, calibration]}},
        data={"splits": {name: {"classes": 25, "images": 50} for name in ("test", "calibration")}},
        evaluation={"intervals": {"level": 0.95}},
    )


def trial(number: int, objective: float | None, state: str = "done", **more: Any) -> Trial:
    values = {"loss.margin": number / 32, "neck": "gem"}
    return Trial(number, state, values, objective, {1: 0.1}, (f"r{number}",), **more)


def outcome(
    scores: Sequence[float], tests: Sequence[float | None], repeats: Sequence[float] = (), **more: Any
) -> Outcome:
    """Trials with these objectives and test values, then a pruned, a failed and a running one."""
    trials = [trial(number, score) for number, score in enumerate(scores)]
    trials += [trial(90, None, "pruned"), trial(91, None, "failed", error="bad"), trial(92, None, "running")]
    records = {
        f"r{number}": made(scores[number], test, f"a+t{number:03}") for number, test in enumerate(tests)
    }
    keys = [f"d{seed}" for seed in range(len(repeats))]
    records |= {f"d{seed}": made(score, score - 0.1, "a+default", seed) for seed, score in enumerate(repeats)}
    return Outcome(facts(**more), trials, records, keys)


SCORES, TESTS = [0.5, 0.7, 0.6], [0.45, 0.5, 0.9]


def test_the_winner_is_chosen_by_calibration_alone() -> None:
    found = outcome(SCORES, TESTS)
    assert [each.number for each in found.ranked] == [1, 2, 0]
    assert found.winner is not None
    assert (found.winner.number, found.name(found.winner)) == (1, "a+t001")
    assert outcome(SCORES, [0.0, None, 1.0]).winner == found.winner
    assert outcome(SCORES, TESTS, higher=False).winner == trial(0, 0.5)
    assert outcome([], []).winner is None


def test_spread_is_that_of_all_trials_that_are_done() -> None:
    assert outcome(SCORES, TESTS).spreads() == {
        "calibration": Spread(3, 0.5, 0.55, 0.6, pytest.approx(0.65), 0.7),
        "test": Spread(3, 0.45, 0.475, 0.5, pytest.approx(0.7), 0.9),
    }
    assert outcome([0.5], [None]).spreads() == {"calibration": Spread(1, 0.5, 0.5, 0.5, 0.5, 0.5)}
    assert outcome([], []).spreads() == {}


def test_optimism_is_calibration_minus_test_and_turned_where_less_is_better() -> None:
    found = outcome(SCORES, TESTS)
    assert found.optimism(found.ranked[:1]) == pytest.approx(0.2)
    assert found.optimism(found.ranked) == pytest.approx((0.05 + 0.2 - 0.3) / 3)
    less = outcome(SCORES, TESTS, higher=False)
    assert less.optimism(less.ranked[:1]) == pytest.approx(-0.05)
    assert outcome(SCORES, [None] * 3).optimism(found.ranked) is None


def test_chance_counts_pruned_trials_and_each_setting_once() -> None:
    found = outcome(SCORES, TESTS, repeats=[0.5, 0.52, 0.54])
    assert found.noise is not None
    assert found.noise.deviation == pytest.approx(0.02)
    assert found.gain == pytest.approx(0.1)
    assert found.chance is not None
    assert found.chance.count == 4
    again = Outcome(found.facts, [*found.trials, trial(0, 0.1)], found.records, found.repeats)
    assert again.chance is not None
    assert again.chance.count == 4
    less = outcome(SCORES, TESTS, repeats=[0.5, 0.52], higher=False)
    assert less.gain == pytest.approx(0.1)
    assert outcome([0.5], [0.5], repeats=[0.5, 0.52]).chance is None


def test_without_repeats_the_noise_is_that_of_the_intervals() -> None:
    noise = outcome(SCORES, TESTS).noise
    assert noise is not None
    assert noise.deviation == pytest.approx(0.2 / 3.92, rel=1e-3)
    assert "interval over test classes" in noise.source
    halved = outcome(SCORES, TESTS, seeds=(0, 1, 2, 3)).noise
    assert halved is not None
    assert halved.deviation == pytest.approx(noise.deviation / 2)
    assert outcome(SCORES, [None] * 3).noise is None


def test_the_table_has_the_best_trial_first_and_the_default_last() -> None:
    table = report.trials_table(outcome(SCORES, TESTS, repeats=[0.5, 0.52, 0.54]))
    assert list(table.headings) == ["trial", "f1 calibration", "f1 test", "loss.margin", "neck"]
    assert [list(row) for row in table.rows] == [
        ["t001", "0.700", "0.500 [.400–.600]", "0.03125", "gem"],
        ["t002", "0.600", "0.900 [.800–1.000]", "0.0625", "gem"],
        ["t000", "0.500", "0.450 [.350–.550]", "0", "gem"],
        ["t091", "failed 0.100", "–", "2.844", "gem"],
        ["t090", "pruned 0.100", "–", "2.812", "gem"],
        ["t092", "running 0.100", "–", "2.875", "gem"],
        ["default", "0.520 ±.020", "0.420 ±.020", "0.125", "gap"],
    ]
    spread = report.spread_table(outcome(SCORES, TESTS))
    assert spread is not None
    assert spread.title == "Spread over 3 trials"
    assert list(spread.rows[0]) == ["f1 calibration", "0.500", "0.550", "0.600", "0.650", "0.700"]
    assert report.spread_table(outcome([], [])) is None


def test_sentences_give_the_winner_its_settings_chance_and_optimism() -> None:
    lines = report.outcome_sentences(outcome(SCORES, TESTS, repeats=[0.51, 0.52, 0.53]))
    assert lines[:6] == [
        "winner: a+t001, f1 0.700 on calibration, 0.500 [.400–.600] on test",
        "its settings, for the suite:",
        "  recipe.select_by: f1",
        "  loss.margin: 0.03125",
        "  neck: gem",
        "or: mlbench run toy.yaml --cases a --limit 9 --set recipe.select_by=f1 --set loss.margin=0.03125 "
        "--set neck=gem",
    ]
    assert lines[6] == "default settings: f1 0.520 ±.010 on calibration, 0.420 ±.010 on test"
    assert lines[7].startswith("chance: the best of 4 equally good trials is 0.01")
    gain = "the winner is 0.100 better than the mean of the 3 that are done: "
    assert f"{gain}more than chance explains (noise 0.010, the standard dev" in lines[7]
    assert lines[8] == (
        "optimism: the winner is 0.200 better on calibration than on test, the trials -0.017 on average"
    )
    lines = report.outcome_sentences(outcome(SCORES, TESTS, repeats=[0.4, 0.5]))
    gain = "the winner is 0.100 better than the mean of the 3 that are done: "
    assert f"{gain}no more than chance may give (noise 0.071, the standard" in lines[7]
    assert report.outcome_sentences(outcome([], [])) == ["no trial is done"]
    unknown = report.outcome_sentences(outcome(SCORES, [None] * 3))
    assert unknown[-1].startswith("chance: not known, as there are neither repeats")


def test_notes_count_what_has_no_result_and_give_the_errors() -> None:
    assert report.outcome_notes(outcome(SCORES, TESTS)) == [
        "1 of 6 trials pruned: worse than the median early on",
        "1 of 6 trials running: in other processes, or interrupted",
        "t091 failed: bad",
    ]


def test_json_has_everything() -> None:
    found = json.loads(report.outcome_json(outcome(SCORES, TESTS, repeats=[0.5, 0.52, 0.54])))
    assert [each["name"] for each in found["trials"]][:2] == ["a+t001", "a+t002"]
    assert found["trials"][0]["test"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert found["winner"]["settings"] == {"recipe.select_by": "f1", "loss.margin": 0.03125, "neck": "gem"}
    assert found["spread"]["calibration"]["median"] == 0.6
    assert found["chance"]["gain"] == pytest.approx(0.1)
    assert found["noise"]["deviation"] == pytest.approx(0.02)
    assert found["optimism"]["winner"] == pytest.approx(0.2)
    assert (found["objective"], found["default"]["calibration"]) == ("f1", [0.5, 0.52, 0.54])
    empty = json.loads(report.outcome_json(outcome([], [])))
    assert (empty["winner"], empty["chance"], empty["noise"], empty["spread"]) == (None, None, None, {})

from __future__ import annotations

import pytest
from made_runs import commit, made, scores, speeds

from mlbench.history.differences import Difference, differences
from mlbench.history.runs import runs_of
from mlbench.history.series import Series, series_of
from mlbench.history.suite_history import suite_history
from mlbench.records.record import Estimate, Record
from mlbench.regression.change import Verdict


def only(records: list[Record], **tolerances: float) -> Series:
    (found,) = series_of("gap", runs_of(records), tolerances)
    return found


def test_a_step_of_a_metric_names_its_runs_and_verdict() -> None:
    series = only(scores([0.9] * 4 + [0.8] * 4))
    (move,) = series.moves
    assert (move.before.label, move.after.label) == (commit(3)[:10], commit(4)[:10])
    assert (move.step.at, move.verdict) == (4, Verdict.WORSE)
    assert move.relative == pytest.approx(-1 / 9)
    assert move.note == "1 seed"
    assert series.remark == ""


def test_points_are_means_over_seeds_with_their_interval() -> None:
    records = [record for seed in range(3) for record in scores([0.8 + 0.01 * seed], seed=seed)]
    (point,) = only(records).points
    assert point.value == pytest.approx(0.81)
    assert (point.basis, point.seeds) == ("3 seeds", pytest.approx({0: 0.8, 1: 0.81, 2: 0.82}))
    # Student's t by hand: 4.3027 * 0.01 / sqrt(3)
    assert point.high - point.value == pytest.approx(0.024842, abs=1e-5)


def test_one_seed_has_the_interval_over_classes() -> None:
    (point,) = only([made(0, metrics={"f1": Estimate(0.5, 0.4, 0.6)})]).points
    assert (point.low, point.high, point.basis) == (0.4, 0.6, "classes")


def test_a_step_on_which_seeds_do_not_agree_is_inconclusive() -> None:
    changes = (0.03, -0.01, 0.02, -0.015)
    records = [
        record
        for seed, change in enumerate(changes)
        for record in scores([0.8] * 4 + [0.8 + change] * 4, seed=seed)
    ]
    (move,) = only(records).moves
    assert move.verdict is Verdict.INCONCLUSIVE
    assert move.note == "within the spread over 4 seeds"
    assert move.low < 0 < move.high


def test_a_step_within_the_tolerance_is_the_same() -> None:
    (move,) = only(scores([0.9] * 4 + [0.89] * 4), recall_at_1=0.02).moves
    assert move.verdict is Verdict.SAME


def test_a_metric_is_not_compared_across_other_data() -> None:
    records = scores([0.9] * 6) + [
        made(number, metrics={"recall_at_1": Estimate(0.5)}, data={"version": "2"}) for number in range(6, 9)
    ]
    series = only(records)
    assert series.moves == ()
    assert [(each.at, each.reason) for each in series.breaks] == [(6, "other data (1 before, 2 after)")]
    assert series.remark == "too short: 3 runs since the last break, of 6 that a step needs"


def test_other_seeds_are_no_step() -> None:
    def seeds(numbers: range, *chosen: int) -> list[Record]:
        values = {0: 0.9, 1: 0.7, 2: 0.8}
        return [
            made(number, seed, metrics={"f1": Estimate(values[seed])})
            for number in numbers
            for seed in chosen
        ]

    one, all_, two = seeds(range(6), 0), seeds(range(6, 12), 0, 1, 2), seeds(range(12, 18), 0, 1)
    series = only([*all_, *two])  # two of three are enough to go on
    assert (series.moves, series.breaks) == ((), ())
    assert series.points[0].value == pytest.approx(0.8)
    series = only([*one, *all_])
    assert series.moves == ()
    assert [each.reason for each in series.breaks] == ["other seeds (0 before, 0, 1, 2 after)"]


def test_speeds_of_two_machines_are_two_series() -> None:
    fast = speeds([200] * 6, environment={"cpu": "fast"})
    slow = speeds([100] * 6, environment={"cpu": "slow"})
    found = series_of("gap", runs_of([*fast, *slow]), {})
    assert [(each.machine, len(each.points), each.moves) for each in found] == [
        ("fast, 2 cores", 6, ()),
        ("slow, 2 cores", 6, ()),
    ]


def test_a_slow_day_of_the_machine_is_no_step() -> None:
    rates = [100, 101, 99, 100, 50, 51, 49, 50]
    (move,) = only(speeds(rates)).moves
    assert (move.verdict, move.step.at) == (Verdict.WORSE, 4)
    series = only(speeds(rates, paces=[0.02] * 4 + [0.04] * 4))
    assert series.moves == ()
    assert series.paced
    assert series.points[5].measured == pytest.approx(51)
    # The usual pace is .03 s: what ran at .04 s would have been a third faster.
    assert series.points[5].value == pytest.approx(51 * 4 / 3)
    assert series.points[0].value == pytest.approx(100 * 2 / 3)


def test_a_speed_lost_is_a_share_with_its_interval() -> None:
    series = only(speeds([100, 101, 99, 100, 80, 81, 79, 80]))
    (move,) = series.moves
    assert move.relative == pytest.approx(-0.2, abs=0.001)
    assert move.low < -20 < move.high < 0
    # From the differences of about 1, -2, 1 % of the rate, not from the step.
    assert series.noise == pytest.approx(0.011, abs=0.001)
    (move,) = only(speeds([100, 101, 99, 100, 95, 96, 94, 95])).moves
    assert move.verdict is Verdict.SAME  # a tenth is allowed


def test_sizes_change_without_noise() -> None:
    records = [made(number, size={"parameters": size}) for number, size in enumerate([10, 10, 12])]
    (move,) = only(records).moves
    assert (move.step.at, move.verdict, move.relative) == (2, Verdict.WORSE, pytest.approx(0.2))


def test_short_histories_say_so() -> None:
    assert only(scores([0.9, 0.5])).remark == "too short: 2 runs, of 6 that a step needs"


def test_differences_name_every_part() -> None:
    old = made(
        1,
        settings={"loss": {"name": "cosface", "margin": 0.4}},
        components={"loss": {"package": "mine", "version": "1", "code": "a"}},
        conditions={"libraries": {"torch": "2.9"}, "core": "x"},
    )
    new = made(
        2,
        settings={"loss": {"name": "cosface", "margin": 0.2}},
        components={"loss": {"package": "mine", "version": "2", "code": "b"}},
        conditions={"libraries": {"torch": "2.10"}, "core": "x"},
        data={"version": "2"},
        environment={"cpu": "z"},
    )
    before, after = runs_of([old, new])
    assert differences(before, after) == (
        Difference("revision", "commit", f"{commit(1)[:10]} Change 1", f"{commit(2)[:10]} Change 2"),
        Difference("setting", "loss.margin", "0.4", "0.2"),
        Difference("component", "loss", "mine 1 a", "mine 2 b"),
        Difference("library", "torch", "2.9", "2.10"),
        Difference("data", "version", "1", "2"),
        Difference("machine", "cpu", "x", "z"),
    )
    assert differences(before, before) == ()


def test_a_history_has_the_newest_events_first_and_failures() -> None:
    records = [
        *scores([0.9] * 4 + [0.8] * 4 + [0.95] * 4),
        *speeds([100, 101, 99, 100, 80, 81, 79, 80, 81, 80, 79, 80], case="speed"),
        made(20, status="failed", error="no memory", case="speed"),
    ]
    history = suite_history("s", records)
    assert [(event.series.case, event.move.verdict) for event in history.events] == [
        ("gap", Verdict.BETTER),
        ("gap", Verdict.WORSE),
        ("speed", Verdict.WORSE),
    ]
    assert [cause.name for cause in history.events[0].causes] == ["commit"]
    (failure,) = history.failures
    assert (failure.error, failure.before and failure.before.label) == ("no memory", commit(11)[:10])
    assert len(history.of_verdict(Verdict.WORSE)) == 2

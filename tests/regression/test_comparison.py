"""Verdicts on records whose changes are known."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import BEFORE, HERE, NOISE, record, scored, timed

from mlbench.records.record import Estimate, Record, Timing
from mlbench.regression.change import OTHER_HARDWARE, Change, Verdict
from mlbench.regression.comparison import Missing, compare


def the_change(before: list[Record], after: list[Record], **tolerances: float) -> Change:
    (change,) = compare(before, after, tolerances).changes
    return change


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(-0.04, "worse"), (-0.01, "same"), (0.0, "same"), (0.01, "same"), (0.04, "better")],
)
def test_compare_judges_metrics_by_the_tolerance(shift: float, verdict: str) -> None:
    after = [value + shift + noise for value, noise in zip(BEFORE, NOISE, strict=True)]
    change = the_change(scored(BEFORE), scored(after), recall_at_1=0.02)
    assert change.verdict == verdict
    assert change.difference == pytest.approx(shift)
    assert change.low is not None
    assert change.high is not None
    assert change.low < shift < change.high
    assert change.samples == 4


def test_compare_pairs_metrics_by_seed() -> None:
    # Seeds differ by far more than the change, so only pairs show it.
    before = [0.5, 0.9, 0.1, 0.7]
    after = [value - 0.05 + noise for value, noise in zip(before, NOISE, strict=True)]
    change = the_change(scored(before), list(reversed(scored(after))), recall_at_1=0.02)
    assert change.verdict == "worse"


def test_compare_takes_only_seeds_of_both_sides() -> None:
    change = the_change(scored([0.9, 0.8, 0.7]), scored([0.9, 0.8]), recall_at_1=0.02)
    assert (change.before, change.after, change.samples) == (pytest.approx(0.85), pytest.approx(0.85), 2)


def test_compare_with_one_seed_is_inconclusive() -> None:
    before = scored([0.9], low=0.85, high=0.95)
    change = the_change(before, scored([0.2], low=0.1, high=0.3), recall_at_1=0.02)
    assert change.verdict is Verdict.INCONCLUSIVE
    assert (change.low, change.high) == (None, None)
    assert change.note == (
        "the spread over seeds is unknown with 1 seed; run 3 or more "
        "(interval over classes: before [0.850, 0.950], after [0.100, 0.300])"
    )


def test_compare_notes_how_many_seeds_are_needed() -> None:
    # Differences -0.02 and 0.02 have a spread of 0.0283: 18 pairs detect 0.02 in 80 of 100 trials.
    change = the_change(scored([0.9, 0.9]), scored([0.88, 0.92]), recall_at_1=0.02)
    assert change.verdict is Verdict.INCONCLUSIVE
    assert change.note == "2 seeds; 18 would show a change of 0.02 (at 80 % power)"


def test_compare_of_two_equal_differences_is_inconclusive() -> None:
    change = the_change(scored([0.90, 0.92]), scored([0.80, 0.82]), recall_at_1=0.02)
    assert change.verdict is Verdict.INCONCLUSIVE
    change = the_change(scored([0.90, 0.92, 0.94]), scored([0.80, 0.82, 0.84]), recall_at_1=0.02)
    assert change.verdict is Verdict.WORSE


def test_compare_uses_the_direction_of_a_metric() -> None:
    before, after = ([value + n for n in NOISE] for value in (0.1, 0.2))
    error = the_change(
        scored(before, "eer", higher_is_better=False), scored(after, "eer", higher_is_better=False), eer=0.02
    )
    assert error.verdict is Verdict.WORSE
    threshold = the_change(
        scored(before, "threshold", higher_is_better=None), scored(after, "threshold", higher_is_better=None)
    )
    assert threshold.verdict is None
    assert threshold.difference == pytest.approx(0.1)


def test_compare_does_not_judge_metrics_of_other_data() -> None:
    other = [replace(each, data={"version": "2"}) for each in scored([0.1, 0.1, 0.2])]
    change = the_change(scored([0.9, 0.9, 0.9]), other, recall_at_1=0.02)
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == "other data (1 before, 2 after)"


def test_compare_does_not_judge_metrics_of_another_protocol() -> None:
    def judged(value: float, gallery: str) -> list[Record]:
        return [replace(each, evaluation={"protocol": {"gallery": gallery}}) for each in scored([value] * 3)]

    change = the_change(judged(0.9, "test"), judged(0.5, "train"), recall_at_1=0.02)
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == "other protocol (gallery test before, train after)"
    # Records older than the choice used the default protocol.
    assert the_change(scored([0.9] * 3), judged(0.9, "test"), recall_at_1=0.02).verdict is Verdict.SAME
    before = the_change(scored([0.9] * 3), judged(0.9, "train"), recall_at_1=0.02)
    assert before.verdict is Verdict.INCOMPARABLE
    leaky = [
        replace(each, evaluation={"protocol": {"gallery": "test", "split": "train"}})
        for each in judged(0.9, "test")
    ]
    change = the_change(judged(0.9, "test"), leaky, recall_at_1=0.02)
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == "other protocol (gallery test before, of training images after)"


@pytest.mark.parametrize("before", [0.9, 0.94, 0.5])
def test_a_loss_equal_to_the_tolerance_is_allowed(before: float) -> None:
    """In floating point 0.90 - 0.88 is above 0.02, and 0.94 - 0.92 below."""
    change = the_change(scored([before] * 3), scored([before - 0.02] * 3), recall_at_1=0.02)
    assert change.verdict is Verdict.SAME
    sides = [[record(size={"parameters": size})] for size in (1000, 1050)]
    assert the_change(*sides, parameters=0.05).verdict is Verdict.SAME


def test_failed_and_missing_seeds_are_noted() -> None:
    before = scored([0.9, 0.8, 0.7])
    failed = replace(before[2], status="failed", error="loss is nan", metrics={})
    found = compare(before, [*before[:2], failed], {"recall_at_1": 0.02})
    assert found.missing == (Missing("gap", "", "after", "1 of 3 seeds failed: loss is nan", gated=True),)
    assert found.regressions == found.missing
    assert found.notes == ("gap: 3 seeds before, 2 after; metrics are compared over the 2 that both have",)
    assert compare([*before[:2], failed], before, {}).regressions == ()


def test_a_metric_missing_in_some_seeds_fails_the_gate() -> None:
    """The mean over the other seeds may be better."""
    before = scored([0.9, 0.8, 0.7], "f1")
    none = replace(before[2], metrics={"f1": Estimate(None, note="no threshold was found")})
    after = [*before[:2], none]
    found = compare(before, after, {"f1": 0.02})
    assert found.missing == (
        Missing("gap", "f1", "after", "1 of 3 seeds: no threshold was found", gated=True),
    )
    assert found.regressions == found.missing
    assert [change.verdict for change in found.changes] == ["same"]
    assert compare(before, [*before[:2], replace(none, metrics={})], {"f1": 0.02}).regressions == (
        Missing("gap", "f1", "after", "1 of 3 seeds: not measured", gated=True),
    )
    (gained,) = compare(after, before, {"f1": 0.02}).missing
    assert gained.side == "before"
    assert compare(after, before, {"f1": 0.02}).regressions == ()
    assert compare(after, after, {"f1": 0.02}).missing == ()  # missing on both sides
    assert compare(before, after, {}).regressions == ()  # not watched


def test_tolerances_without_effect_are_noted() -> None:
    before = scored([0.9, 0.8], "f1")
    assert compare(before, before, {"f1": 0.1}).notes == ()
    (note,) = compare(before, before, {"f2": 0.1, "f1": 0.1}).notes
    assert note == "tolerance f2: neither side has such a quantity (choose from: f1)"
    threshold = scored([0.3, 0.3], "threshold", higher_is_better=None)
    (note,) = compare(threshold, threshold, {"threshold": 0.1}).notes
    assert note == "tolerance threshold: neither direction is better, so it cannot fail a check"


def noisy(generator: random.Random, rate: float, count: int = 12) -> tuple[list[float], list[float]]:
    """Rounds in images per second, and of the reference, on a machine whose speed drifts."""
    machine = [generator.uniform(1, 3) for _ in range(count)]
    return (
        [rate / each * generator.gauss(1, 0.02) for each in machine],
        [0.1 * each * generator.gauss(1, 0.02) for each in machine],
    )


@pytest.mark.parametrize(
    ("rate", "verdict"), [(100.0, "same"), (100 / 1.2, "worse"), (100 / 1.05, "same"), (120.0, "better")]
)
def test_compare_judges_speed_by_the_reference(rate: float, verdict: str) -> None:
    generator = random.Random(0)
    before, after = timed(*noisy(generator, 100)), timed(*noisy(generator, rate))
    change = the_change(before, after)
    assert change.verdict == verdict
    assert change.difference == pytest.approx(rate / 100 - 1, abs=0.03)
    assert change.gated


def test_a_slow_machine_is_not_a_regression() -> None:
    generator = random.Random(0)
    before = timed(*noisy(generator, 100))
    rounds, reference = noisy(generator, 100)
    after = timed([each / 2 for each in rounds], [2 * each for each in reference])
    found = compare(before, after, {})
    assert [each.verdict for each in found.changes] == ["same"]
    assert len(found.notes) == 1
    assert "x the time" in found.notes[0]


def test_speeds_of_a_disturbed_machine_are_noted() -> None:
    before, after = (timed([100.0] * 4, [0.1] * 4) for _ in range(2))
    after = [replace(each, measured={**each.measured, "reference_minimum": 0.05}) for each in after]
    notes = compare(before, after, {}).notes
    assert notes == ("gap images_per_second: other work slowed the machine after",)


def test_compare_without_a_reference_uses_the_rounds_directly() -> None:
    before, after = ([rate + step for step in range(7)] for rate in (100, 70))
    assert the_change(timed(before), timed(after)).verdict == "worse"
    assert the_change(timed(before, name="latency_p50"), timed(after, name="latency_p50")).verdict == "better"


def test_compare_of_few_rounds_is_inconclusive() -> None:
    change = the_change(timed([100.0, 101.0, 102.0]), timed([50.0, 51.0, 52.0]))
    assert change.verdict is Verdict.INCONCLUSIVE
    assert change.note == "3 rounds; at least 4 are needed"


def test_compare_notes_how_many_rounds_are_needed() -> None:
    before, after = [96.0, 97.0, 100.0, 103.0, 104.0], [90.0, 94.0, 99.0, 103.0, 113.0]
    change = the_change(timed(before), timed(after))
    assert change.verdict is Verdict.INCONCLUSIVE
    assert re.fullmatch(r"5 rounds; about \d+ would decide", change.note)
    far = the_change(timed([1.0, 50.0, 100.0, 300.0]), timed([1.0, 50.0, 91.0, 300.0]))
    assert far.note == "4 rounds; more than 1,000 would be needed to decide"


def test_compare_on_other_hardware_needs_a_reference_and_raises_the_tolerance() -> None:
    generator = random.Random(0)
    there = {**HERE, "cpu": "y", "device_product": "y"}
    rounds, reference = noisy(generator, 100)
    before = timed(rounds, reference)
    slow = [each / 1.2 for each in rounds]
    change = the_change(before, timed(slow, reference, environment=there))
    assert (change.verdict, change.tolerance) == ("same", pytest.approx(0.1 * OTHER_HARDWARE))
    slower = [each / 1.5 for each in rounds]
    assert the_change(before, timed(slower, reference, environment=there)).verdict == "worse"
    other_threads = [
        replace(each, measured={**each.measured, "threads": 4})
        for each in timed(slower, reference, environment=there)
    ]
    assert the_change(before, other_threads).verdict == "worse"  # the reference used the same number
    change = the_change(timed(rounds), timed(slower, environment=there))
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == "other hardware, and the reference workload was not timed"


@pytest.mark.parametrize("kind", ["cuda:0", "mps"])
def test_compare_does_not_judge_speed_on_another_kind_of_device(kind: str) -> None:
    rounds, reference = noisy(random.Random(0), 100)
    there = {**HERE, "device": kind}
    change = the_change(timed(rounds, reference), timed(rounds, reference, environment=there))
    name = kind.partition(":")[0]
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == f"measured on other kinds of device (cpu before, {name} after)"


def test_compare_divides_each_speed_by_its_own_reference() -> None:
    rounds, reference = noisy(random.Random(0), 100)
    slower = [2 * each for each in reference]
    sides = [timed(rounds, reference), timed(rounds, reference)]
    for side, beside in zip(sides, (reference, slower), strict=True):
        side[0].speed["latency_p50"] = Timing(
            5.0, tuple(rounds), higher_is_better=False, reference=tuple(beside)
        )
    speed, latency = compare(*sides, {}).changes
    assert (speed.difference, latency.difference) == (0, pytest.approx(-0.5))


def test_a_speed_missing_in_one_seed_is_compared_over_the_others() -> None:
    before = timed([100.0, 101.0, 102.0, 103.0])
    lost = record(1, speed={"images_per_second": Timing(None, note="killed")})
    assert the_change(before, [*before, lost]).verdict is not Verdict.INCOMPARABLE


@pytest.mark.parametrize(
    ("measured", "what"),
    [
        ({"batch_size": 8, "threads": 1}, "batch sizes (32 before, 8 after)"),
        ({"batch_size": 32, "threads": 2}, "numbers of threads (1 before, 2 after)"),
        (
            {"batch_size": 32, "threads": 1, "reference_version": 2},
            "versions of the reference workload (None before, 2 after)",
        ),
    ],
)
def test_compare_does_not_judge_speed_under_other_conditions(measured: dict[str, int], what: str) -> None:
    before, after = timed([100.0] * 7), timed([50.0] * 7)
    change = the_change(before, [replace(each, measured=measured) for each in after])
    assert change.verdict is Verdict.INCOMPARABLE
    assert change.note == f"measured with other {what}"


def test_compare_counts_the_rounds_of_a_shared_measurement_once() -> None:
    one = timed([100.0, 101.0, 102.0, 103.0])[0]
    before = [one, replace(one, seed=1)]
    assert the_change(before, before).samples == 4


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "verdict"),
    [(100, 100, 0, "same"), (100, 101, 0, "worse"), (100, 99, 0, "better"), (100, 104, 0.05, "same")],
)
def test_compare_of_sizes_uses_their_values(before: int, after: int, tolerance: float, verdict: str) -> None:
    sides = [[record(size={"parameters": size})] for size in (before, after)]
    change = the_change(*sides, parameters=tolerance)
    assert (change.verdict, change.difference) == (verdict, pytest.approx(after / before - 1))


def test_compare_of_zero_bytes() -> None:
    sides = [[record(size={"parameters": size})] for size in (0, 5)]
    assert the_change(*sides).verdict == "worse"
    assert the_change(*reversed(sides)).verdict == "better"


def test_compare_lists_quantities_that_one_side_lacks() -> None:
    before = [*scored([0.9, 0.8]), replace(record(), case="old"), replace(record(), case="broken")]
    failed = replace(record(), case="broken", status="failed", error="boom")
    after = [*scored([0.9, 0.8], "f1"), replace(record(), case="new"), failed]
    found = compare(before, after, {"recall_at_1": 0.02})
    assert found.changes == ()
    assert found.missing == (
        Missing("gap", "recall_at_1", "after", "not measured", gated=True),
        Missing("gap", "f1", "before", "not measured", gated=False),
        Missing("old", "", "after", "no record", gated=True),
        Missing("broken", "", "after", "boom", gated=True),
        Missing("new", "", "before", "no record", gated=True),  # which fails no check
    )
    assert [each.case for each in found.regressions] == ["gap", "old", "broken"]


def test_compare_gives_the_reason_of_a_missing_speed() -> None:
    lost = record(speed={"images_per_second": Timing(None, note="out of memory at batch size 32")})
    (missing,) = compare(timed([100.0] * 7), [lost], {}).regressions
    assert isinstance(missing, Missing)
    assert missing.reason == "out of memory at batch size 32"


def test_regressions_are_gated_changes_only() -> None:
    before, after = ([value + n for n in NOISE] for value in (0.9, 0.5))
    assert compare(scored(before), scored(after), {}).regressions == ()
    assert len(compare(scored(before), scored(after), {"recall_at_1": 0.02}).regressions) == 1


MIRROR = {"better": "worse", "worse": "better", "same": "same", "inconclusive": "inconclusive"}
shares = st.lists(st.floats(0, 1), min_size=2, max_size=6)
rates = st.lists(st.floats(1, 1000), min_size=4, max_size=8)


@settings(deadline=None)
@given(shares, shares, st.floats(0, 0.5))
def test_swapped_sides_have_mirrored_verdicts_on_metrics(
    before: list[float], after: list[float], tolerance: float
) -> None:
    sides = scored(before), scored(after)
    found = the_change(*sides, recall_at_1=tolerance).verdict
    swapped = the_change(*reversed(sides), recall_at_1=tolerance).verdict
    assert found is not None
    assert swapped == MIRROR[found]


@settings(deadline=None)
@given(rates, rates)
def test_swapped_sides_have_mirrored_verdicts_on_speed(before: list[float], after: list[float]) -> None:
    found = the_change(timed(before), timed(after)).verdict
    swapped = the_change(timed(after), timed(before)).verdict
    assert found is not None
    assert swapped == MIRROR[found]

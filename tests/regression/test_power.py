from __future__ import annotations

import json
import random

import pytest
from made_records import record, scored

from mlbench.records.record import Timing
from mlbench.regression.comparison import compare
from mlbench.regression.power import plan_power, power_json, power_table
from mlbench.regression.statistics import samples_needed


def test_plan_power_takes_the_spread_over_seeds() -> None:
    (found,) = plan_power(["gap"], scored([0.90, 0.91, 0.92]), {"recall_at_1": 0.02})
    assert (found.known, found.spread) == (3, pytest.approx(0.01))
    # Paired differences spread by the square root of 2 times that: 7 pairs detect 0.02.
    assert found.seeds == samples_needed(0.01 * 2**0.5, 0.02) == 7


@pytest.mark.parametrize(
    ("values", "tolerance", "note"),
    [
        ([0.9], 0.02, "spread not known: 1 seed has been run"),
        ([], 0.02, "spread not known: no seed has been run"),
        ([0.1, 0.9], 0.001, "more than 1,000"),
        ([0.1, 0.9], 0.0, "none suffices for a tolerance of 0"),
    ],
)
def test_plan_power_notes_unknown_numbers(values: list[float], tolerance: float, note: str) -> None:
    (found,) = plan_power(["gap"], scored(values), {"recall_at_1": tolerance})
    assert (found.seeds, found.note) == (None, note)


def test_plan_power_of_no_spread_is_three() -> None:
    (found,) = plan_power(["gap"], scored([0.9, 0.9]), {"recall_at_1": 0.02})
    assert (found.seeds, found.note) == (3, "no spread so far")  # two equal values may be chance


def test_the_gate_fails_losses_above_its_tolerance() -> None:
    """In simulation, with the advised seeds: half of the losses equal to the tolerance fail."""
    (found,) = plan_power(["gap"], scored([0.90, 0.91, 0.92]), {"recall_at_1": 0.02})
    assert found.caught is not None
    generator = random.Random(0)

    def failed(loss: float) -> float:
        trials = 600
        count = 0
        for _ in range(trials):
            before, after = (
                [value + generator.gauss(0, 0.01) for _ in range(found.seeds)] for value in (0.9, 0.9 - loss)
            )
            count += len(compare(scored(before), scored(after), {"recall_at_1": 0.02}).regressions)
        return count / trials

    assert failed(found.caught) == pytest.approx(0.8, abs=0.05)
    assert failed(0.02) == pytest.approx(0.5, abs=0.06)


def test_plan_power_leaves_out_speeds_and_sizes() -> None:
    speed = record(speed={"images_per_second": Timing(1.0)}, size={"parameters": 3})
    tolerances = {"images_per_second": 0.1, "parameters": 0.0, "f1": 0.1}
    assert [each.metric for each in plan_power(["gap"], [speed], tolerances)] == ["f1"]


def test_power_as_table_and_json() -> None:
    found = plan_power(["gap", "new"], scored([0.90, 0.91, 0.92]), {"recall_at_1": 0.02})
    rows = power_table(found).rows
    assert rows[0] == ("gap", "recall_at_1", "0.02", "3", "0.0100", "7", "-0.0245", "")
    assert rows[1][3:] == ("0", "?", "?", "", "spread not known: no seed has been run")
    assert [each["seeds"] for each in json.loads(power_json(found))] == [7, None]

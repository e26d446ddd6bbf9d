from __future__ import annotations

from dataclasses import replace

import pytest

from mlbench.environment import Device, cache_dir
from mlbench.measurement.durations import Durations, duration_text
from mlbench.records.record import Record

CPU = Device("cpu", "test")


def record(case, steps: int, **seconds: float) -> Record:
    return Record(
        suite="toy",
        case=case.name,
        seed=case.seed,
        fingerprint="",
        status="done",
        training={"steps": steps},
        seconds=seconds,
    )


def test_a_run_is_expected_to_take_what_its_steps_and_images_took(planned) -> None:
    plan = planned("matrix:\n  neck.dim: [8, 16]\nseeds: [0, 1]\n")
    case, other = plan.cases[0], plan.cases[2]
    durations = Durations(CPU)
    assert durations.training(plan.cases) == (0.0, 4)
    images = sum(len(case.dataset.split(name)) for name in ("train", "calibration", "test"))
    durations.learn(case, record(case, 6, train=3.0, inputs=1.0, evaluate=0.5))
    longer = planned("matrix:\n  neck.dim: [8]\n", overrides=("recipe.epochs=4",)).cases[0]
    again = Durations(CPU)  # another run on the same machine
    assert again.training([longer]) == (pytest.approx(0.5 * longer.forecast.steps + 1.5), 0)
    assert again.training([case, other]) == (pytest.approx(0.5 * case.forecast.steps + 1.5), 1)
    again.learn(case, record(case, 0, inputs=images * 0.1))
    assert again.training([case])[0] == pytest.approx(images * 0.1)
    assert Durations(replace(CPU, product="another")).training([case]) == (0.0, 1)


def test_measuring_counts_once_for_each_architecture(planned) -> None:
    plan = planned("matrix:\n  neck.dim: [8, 16]\nseeds: [0, 1]\n")
    durations = Durations(CPU)
    durations.learn_measuring(plan.cases, 10.0)
    assert durations.measuring(plan.cases[:2]) == pytest.approx(5.0)
    longer = planned(overrides=("measure.rounds=20",)).cases
    assert durations.measuring(longer) == pytest.approx(10.0)
    assert durations.training(plan.cases) == (0.0, 4)
    assert Durations(replace(CPU, product="another")).measuring(plan.cases) == 0.0


def test_a_failed_case_teaches_nothing(planned) -> None:
    (case,) = planned().cases
    Durations(CPU).learn(case, replace(record(case, 0), status="failed", error="no"))
    assert Durations(CPU).training([case]) == (0.0, 1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"measuring": "soon"}', '{"measuring": NaN}'])
def test_a_damaged_file_is_as_none(planned, text: str) -> None:
    (case,) = planned().cases
    Durations(CPU).learn(case, record(case, 6, train=3.0))
    (path,) = (cache_dir() / "durations").iterdir()
    path.write_text(text)
    assert Durations(CPU).training([case]) == (0.0, 1)
    assert Durations(CPU).measuring([case]) == 0.0


def test_durations_are_readable() -> None:
    seconds = (0.2, 40.4, 99, 100, 200, 5939, 9000)
    assert [duration_text(each) for each in seconds] == [
        *("1 s", "40 s", "99 s", "2 min", "3 min", "99 min", "2.5 h")
    ]

from __future__ import annotations

from dataclasses import replace

import pytest

from mlbench.environment import Device
from mlbench.measurement.result import Measurement
from mlbench.measurement.reuse import Earlier, joined
from mlbench.measurement.subject import stages_of
from mlbench.records.record import Record, Timing
from mlbench.registry import Entry

CPU = Device("cpu", "test")
SPEEDS = ("images_per_second", "latency_p50", "latency_p95", "training_images_per_second")


def record(case, device: Device = CPU, **changes: object) -> Record:
    """A finished record of a case, measured on a device."""
    found = Measurement(
        speed={name: Timing(10.0, (10.0,), reference=(1.0,)) for name in SPEEDS},
        memory={name: Timing(5.0, (5.0,)) for name in ("peak_cpu", "training_peak_cpu")},
        size={"flops": 7},
        measured={"reference_minimum": 1.0, "threads": 1, "turns": dict.fromkeys(SPEEDS, "old.0")},
    )
    bare = Record(suite="toy", case=case.name, seed=0, fingerprint="f" * 8, status="done", finished="1")
    return replace(bare, **{**joined(case, found, {}, device).facts(bare), **changes})


@pytest.fixture
def edited(planned, monkeypatch):
    """The case after its plugins' code was edited: components of the given kinds have another hash."""

    def edited(*kinds: str, overrides: tuple[str, ...] = ()):
        provenance = Entry.provenance.func
        monkeypatch.setattr(
            Entry,
            "provenance",
            property(
                lambda entry: {
                    **provenance(entry),
                    **({"code": "edited"} if entry.component.kind in kinds else {}),
                }
            ),
        )
        return planned(overrides=overrides).cases[0]

    return edited


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        (("metric", "threshold", "dataset", "batch_sampler"), ["inference", "latency", "training"]),
        (("loss",), ["inference", "latency"]),
        (("sampler",), ["inference", "latency"]),
        (("recipe",), ["inference", "latency"]),
        (("neck",), []),
        (("backbone",), []),
    ],
)
def test_only_stages_that_use_the_edited_code_are_measured_again(planned, edited, kinds, kept) -> None:
    earlier = Earlier([record(planned().cases[0])], CPU)
    assert list(earlier.of(planned().cases[0])) == ["inference", "latency", "training"]
    assert list(earlier.of(edited(*kinds))) == kept


def test_a_loss_among_several_is_part_of_training(planned, edited) -> None:
    several = ("loss=null", "losses.cosface={weight: 1.0}")
    earlier = Earlier([record(planned(overrides=several).cases[0])], CPU)
    assert list(earlier.of(edited("loss", overrides=several))) == ["inference", "latency"]


def test_a_measurement_elsewhere_or_of_other_settings_does_not_hold(planned, monkeypatch) -> None:
    case = planned().cases[0]
    earlier = Earlier([record(case)], CPU)
    assert Earlier([record(case, Device("cpu", "other"))], CPU).of(case) == {}
    assert list(earlier.of(planned(overrides=("measure.batch_size=8",)).cases[0])) == ["latency", "training"]
    monkeypatch.setattr("mlbench.measurement.reuse.library_versions", lambda: {"torch": "9"})
    assert earlier.of(case) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "failed"},
        {"notes": ("not measured: killed by signal 9; the next run measures again",)},
        {"notes": ("latency_p50 not known: out of memory",)},
        {"speed": {}},
        {"speed": {name: Timing(10.0, (10.0,), reference=(2.0,)) for name in SPEEDS}},
        {"measured": {}},
    ],
    ids=["failed", "lost", "unknown", "none", "disturbed", "old"],
)
def test_a_measurement_that_is_not_sound_is_not_taken(planned, changes) -> None:
    case = planned().cases[0]
    assert Earlier([record(case, **changes)], CPU).of(case) == {}


def test_the_newest_record_is_taken(planned) -> None:
    case = planned().cases[0]
    old, new = record(case), record(case, finished="2", fingerprint="n" * 8)
    assert {each.fingerprint for each in Earlier([new, old], CPU).of(case).values()} == {"n" * 8}


def test_new_and_earlier_stages_make_one_measurement(planned) -> None:
    case = planned().cases[0]
    old = record(case)
    known = dict.fromkeys(("inference", "latency"), old)
    new = Measurement(
        speed={"training_images_per_second": Timing(3.0, (3.0,))},
        memory={"training_peak_cpu": Timing(2.0)},
        measured={
            "reference_minimum": 0.5,
            "threads": 4,
            "turns": {"training_images_per_second": "new.0"},
        },
    )
    found = joined(case, new, known, CPU)
    assert {name: each.value for name, each in found.speed.items()} == {
        **dict.fromkeys(SPEEDS, 10.0),
        "training_images_per_second": 3.0,
    }
    assert list(found.speed) == list(SPEEDS)
    assert found.measured["turns"] == {
        **dict.fromkeys(SPEEDS, "old.0"),
        "training_images_per_second": "new.0",
    }
    assert {name: each.value for name, each in found.memory.items()} == {
        "peak_cpu": 5.0,
        "training_peak_cpu": 2.0,
    }
    assert found.size == {"flops": 7}
    assert (found.measured["reference_minimum"], found.measured["threads"]) == (0.5, 4)
    assert found.measured["taken_from"] == {"inference": old.key, "latency": old.key}
    assert found.measured["keys"].keys() == set(stages_of(case))
    assert joined(case, Measurement(lost="killed"), known, CPU).lost == "killed"

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from mlbench.errors import StoreError
from mlbench.records.record import SCHEMA, Estimate, Record, Timing, default_tolerances

RECORD = Record(suite="s", case="gap", seed=1, fingerprint="0123456789abcdef", status="done")


def test_key_names_case_seed_and_fingerprint() -> None:
    assert RECORD.key == "gap-s1-01234567"


def test_a_record_survives_json() -> None:
    record = Record(
        suite="s",
        case="c",
        seed=0,
        fingerprint="f",
        status="failed",
        error="x",
        notes=("a",),
        axes={"neck": "gap"},
        metrics={
            "f1": Estimate(0.5, 0.4, 0.6, heading="F1", headline=True, tolerance=0.02),
            "eer": Estimate(None, note="few"),
        },
        speed={"latency_p50": Timing(2.0, (1.0, 2.0, 4.0), "ms", higher_is_better=False)},
        memory={"peak_cuda": Timing(None, note="out of memory at batch size 512")},
        size={"parameters": 3, "onnx": None},
        measured={"batch_size": 512},
    )
    assert Record.from_plain(json.loads(json.dumps(record.plain())), "x") == record


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        RECORD.status = "failed"  # type: ignore[misc]


def test_keys_of_later_versions_with_the_same_schema_are_left_out() -> None:
    assert Record.from_plain({**RECORD.plain(), "new": 1}, "x") == RECORD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA + 1}, f"^x.json: record schema {SCHEMA + 1}; this mlbench reads 1 to {SCHEMA}$"),
        ({"schema": None}, "^x.json: record schema None"),
        ({"notes": 3}, r"^x.json: not a record \("),
        (
            {"evaluation": {"intervals": {"level": "a"}}},
            r"\(evaluation.intervals.level: input should be a valid",
        ),
        ({"evaluation": [1]}, r"\(evaluation: input should be a valid dictionary"),
        ({"training": {"curves": {"loss": 3}}}, r"\(training.curves.loss: input should be a valid list"),
    ],
)
def test_what_is_no_record_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Record.from_plain({**RECORD.plain(), **change}, "x.json")


def test_a_record_without_its_case_is_named() -> None:
    plain = RECORD.plain()
    del plain["case"]
    with pytest.raises(StoreError, match=r"^x.json: not a record \(.*'case'\)$"):
        Record.from_plain(plain, "x.json")


def test_estimates_are_metrics_and_quantities_of_training() -> None:
    found = replace(RECORD, metrics={"f1": Estimate(0.5)}, training={"loss_variation": 0.25, "steps": 3})
    assert found.estimate("f1") == Estimate(0.5)
    assert found.estimate("loss_variation") == Estimate(0.25, higher_is_better=False)
    assert found.estimate("steps") is None
    assert RECORD.estimate("loss_variation") is None
    stored = replace(RECORD, metrics={"loss_variation": Estimate(0.1)})  # as evidence files keep it
    assert stored.estimate("loss_variation") == Estimate(0.1)


def test_bare_numbers_of_schema_1_become_estimates() -> None:
    plain = {**RECORD.plain(), "schema": 1, "metrics": {"f1": 0.8, "f1_threshold": 0.3}}
    record = Record.from_plain(plain, "x")
    assert record.schema == SCHEMA
    assert record.metrics["f1"] == Estimate(0.8, heading="F1", headline=True)
    assert record.metrics["threshold"] == Estimate(
        0.3, unit="distance", higher_is_better=None, heading="at distance"
    )


def test_the_only_speed_of_schema_2_becomes_a_timing() -> None:
    speed = {"images_per_second": 20.0, "rounds": [10.0, 20.0, 30.0], "batch_size": 32, "threads": 2}
    record = Record.from_plain({**RECORD.plain(), "schema": 2, "speed": speed}, "x")
    assert record.schema == SCHEMA
    assert record.speed == {"images_per_second": Timing(20.0, (10.0, 20.0, 30.0), "images/s")}
    assert record.measured == {"batch_size": 32, "threads": 2}


def test_a_speed_that_schema_2_could_not_measure_keeps_its_reason() -> None:
    speed = {"images_per_second": None, "error": "killed by signal 9"}
    record = Record.from_plain({**RECORD.plain(), "schema": 2, "speed": speed}, "x")
    assert record.speed["images_per_second"] == Timing(None, unit="images/s", note="killed by signal 9")


@pytest.mark.parametrize(("device", "beside_onnx"), [("cpu", (0.1, 0.2)), ("cuda:0", ())])
def test_the_reference_of_schema_3_stands_beside_every_speed_of_its_device(device, beside_onnx) -> None:
    def timing(*rounds: float, **facts: object) -> dict[str, object]:
        return {"value": rounds[0], "rounds": rounds, **facts}

    speed = {
        "latency_p50": timing(3.0, 4.0, higher_is_better=False),
        "onnx_images_per_second": timing(50.0, 40.0),
        "reference": timing(0.1, 0.2, unit="s"),
    }
    plain = {**RECORD.plain(), "schema": 3, "speed": speed, "environment": {"device": device}}
    record = Record.from_plain(plain, "x")
    assert record.speed == {
        "latency_p50": Timing(3.0, (3.0, 4.0), higher_is_better=False, reference=(0.1, 0.2)),
        "onnx_images_per_second": Timing(50.0, (50.0, 40.0), reference=beside_onnx),
    }


def test_metrics_of_schema_5_get_the_headings_and_the_order_that_the_program_gave_them() -> None:
    values = {"eer": 0.1, "f1": 0.8, "map_at_r": 0.7, "recall_at_1": 0.9, "pair_list_accuracy": 0.95}
    metrics = {name: {"value": value} for name, value in values.items()}
    record = Record.from_plain({**RECORD.plain(), "schema": 5, "metrics": metrics}, "x")
    assert record.schema == SCHEMA
    assert {name: (each.heading, each.headline) for name, each in record.metrics.items()} == {
        "pair_list_accuracy": ("accuracy (pair list)", True),
        "recall_at_1": ("Recall@1", True),
        "f1": ("F1", True),
        "map_at_r": ("MAP@R", False),
        "eer": ("", False),
    }
    assert next(iter(record.metrics)) == "pair_list_accuracy"
    assert {name: each.value for name, each in record.metrics.items()} == values


def test_tolerances_are_those_that_metrics_announced() -> None:
    def announced(tolerance: float | None) -> Record:
        metrics = {"own": Estimate(0.5, tolerance=tolerance), "other": Estimate(0.1)}
        return replace(RECORD, metrics=metrics)

    assert default_tolerances([announced(None)]) == {}
    assert default_tolerances([announced(0.1), announced(0.2), announced(None)]) == {"own": 0.2}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"f1": {"value": 0.5, "heading": 3}}},
        {"metrics": {"f1": {"value": 0.5, "tolerance": "0.1"}}},
        {"metrics": {"f1": {"value": float("nan")}}},
        {"metrics": {"f1": {"value": "0.5"}}},
        {"metrics": {"f1": {"value": True}}},
        {"metrics": [1]},
        {"size": {"parameters": float("inf")}},
        {"size": {"parameters": 10**400}},
        {"speed": {"images_per_second": {"value": 1.0, "rounds": [1.0, 0.0]}}},
        {"speed": {"images_per_second": {"value": 1.0, "rounds": [None]}}},
        {"speed": {"images_per_second": {"value": 1.0, "rounds": 3}}},
        {"speed": {"images_per_second": {"value": 1.0, "reference": [0.0]}}},
        {"memory": {"peak_cpu": 7}},
        {"measured": {"turns": "a.0"}},
        {"measured": {"reference_minimum": "night"}},
        {"measured": {"reference_minimum": [0.1]}},
        {"environment": "here"},
        {"data": None},
        {"finished": 5},
        {"case": None},
        {"seed": "0"},
    ],
)
def test_values_that_nobody_can_count_with_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(StoreError, match=r"^x.json: not a record \(.*\)$"):
        Record.from_plain({**RECORD.plain(), **change}, "x.json")


def test_notes_on_disturbed_measurements_of_schema_6_are_marks() -> None:
    """Which speeds were disturbed follows from the reference workload beside them."""
    timing = {"value": 9.0, "rounds": [9.0], "reference": [2.0]}
    notes = ["measured on a disturbed machine: images_per_second; see run --measure-again", "mind this"]
    old = {
        **RECORD.plain(),
        "schema": 6,
        "speed": {"images_per_second": timing},
        "measured": {"quiet": 1.0},
        "notes": notes,
    }
    record = Record.from_plain(old, "x.json")
    assert record.notes == ("mind this",)
    assert record.measured == {"reference_minimum": 1.0}
    assert record.is_disturbed("images_per_second")
    assert not record.is_disturbed("latency_p50")

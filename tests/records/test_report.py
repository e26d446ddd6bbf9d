from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from mlbench.records.record import Estimate, Record, Timing
from mlbench.records.report import (
    assessment_json,
    assessment_table,
    headline_metrics,
    metric_text,
    notes_of,
    results_json,
    results_markdown,
    results_table,
)

VALUES = {
    "recall_at_1": 0.9,
    "f1": 0.8,
    "precision": 0.7,
    "recall": 0.6,
    "threshold": 0.25,
    "f1_optimistic": 0.85,
    "f1_optimistic_threshold": 0.3,
}
HEADINGS = {
    "recall_at_1": "Recall@1",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "threshold": "at distance",
    "f1_optimistic": "F1 optimistic",
}


def estimate(name: str, value: float | None, *interval: float, **fields: Any) -> Estimate:
    """As a built-in metric announces it."""
    headline = name in ("recall_at_1", "f1")
    return Estimate(value, *interval, heading=HEADINGS.get(name, ""), headline=headline, **fields)


METRICS = {name: estimate(name, value) for name, value in VALUES.items()}
GAP = Record(
    suite="s",
    case="gap",
    seed=0,
    fingerprint="0",
    status="done",
    metrics=METRICS,
    size={"parameters": 3_000_000, "bytes": 12_345_678},
    speed={"images_per_second": Timing(1234.5)},
)
OTHER = replace(GAP, seed=1, metrics={**METRICS, "f1": estimate("f1", 0.7)})
FAILED = Record(suite="s", case="squeeze", seed=0, fingerprint="0", status="failed", error="the loss is nan")


def test_table_has_a_row_a_case_with_mean_and_spread() -> None:
    table = results_table([GAP, OTHER, FAILED], "Which neck?")
    assert table.title == "Which neck? (mean ± standard deviation over seeds)"
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert rows[0]["case"] == "gap"
    assert rows[0]["seeds"] == "2"
    assert rows[0]["F1"] == "0.750 ±.071"
    assert rows[0]["Recall@1"] == "0.900 ±.000"
    assert (rows[0]["MB"], rows[0]["images/s"]) == ("12.35", "1,234")
    assert (rows[1]["case"], rows[1]["seeds"], rows[1]["Recall@1"], rows[1]["F1"]) == (
        "squeeze",
        "0/1",
        "failed",
        "",
    )


def test_a_mean_over_some_of_the_seeds_says_so() -> None:
    without = replace(GAP, seed=2, metrics={**METRICS, "f1": estimate("f1", None, note="no threshold")})
    table = results_table([GAP, OTHER, without], "")
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert (row["F1"], row["Recall@1"]) == ("0.750 ±.071 (2 of 3 seeds)", "0.900 ±.000")
    unmeasured = replace(GAP, seed=2, speed={})  # the speed is that of the architecture, not of a seed
    table = results_table([GAP, unmeasured], "")
    assert dict(zip(table.headings, table.rows[0], strict=True))["images/s"] == "1,234"


def test_one_seed_has_no_spread_and_failed_seeds_do_not_count() -> None:
    (row,) = results_table([GAP, replace(FAILED, case="gap", seed=1)], "").rows
    assert row[:3] == ["gap", "1/2", "0.900"]


def test_markdown_is_a_table_with_notes() -> None:
    lines = results_markdown([GAP, FAILED], "T").splitlines()
    assert lines[:2] == ["### T", ""]
    assert lines[2] == (
        "| case | seeds | Recall@1 | F1 | MB | images/s | precision | recall | at distance | F1 optimistic |"
    )
    assert lines[3].startswith("| --- | ---: |")
    assert lines[4] == "| gap | 1 | 0.900 | 0.800 | 12.35 | 1,234 | 0.700 | 0.600 | 0.250 | 0.850 |"
    assert len({line.count("|") for line in lines[2:6]}) == 1
    assert lines[6:] == ["", "- squeeze seed 0: failed: the loss is nan"]


def test_the_protocol_stands_above_the_table() -> None:
    def judged(record: Record, text: str) -> Record:
        return replace(record, evaluation={"protocol": {"text": text}})

    one = [judged(GAP, "leave one out"), judged(OTHER, "leave one out"), FAILED]
    assert results_table(one, "T").title.splitlines()[1:] == ["protocol: leave one out"]
    assert results_markdown(one, "T").splitlines()[1:5:2] == ["", ""]
    assert results_markdown(one, "T").splitlines()[2] == "protocol: leave one out"
    two = [judged(replace(GAP, case=f"c{n}"), "closed set" if n == 3 else "leave one out") for n in range(5)]
    assert results_table(two, "T").title.splitlines()[1:] == [
        "protocol of c0, c1, c2, and 1 more: leave one out",
        "protocol of c3: closed set",
    ]
    table = assessment_table({}, {"protocol": {"text": "closed set"}}, "e.npz")
    assert table.title == "e.npz\nprotocol: closed set"


def test_json_holds_whole_records() -> None:
    assert [Record.from_plain(each, "x") for each in json.loads(results_json([GAP, FAILED]))] == [GAP, FAILED]
    assert json.loads(results_json([])) == []


def test_a_note_is_said_once_with_its_cases() -> None:
    records = [replace(GAP, case=f"c{n}", notes=("all", *(["some"] if n else []))) for n in range(5)]
    assert notes_of(records) == ["all", "c1 seed 0, c2 seed 0, c3 seed 0, and 1 more: some"]
    assert notes_of([replace(GAP, notes=("x",))]) == ["x"]
    assert notes_of([]) == []


def test_intervals_stand_beside_their_means() -> None:
    level = {"intervals": {"level": 0.95}}
    wide = {
        **METRICS,
        "f1": estimate("f1", 0.8, 0.7, 0.9),
        "recall_at_1": estimate("recall_at_1", 0.9, 0.85, 1.0),
        "precision": estimate("precision", 0.7, 0.6, 0.8),
    }
    first = replace(GAP, metrics=wide, evaluation=level)
    second = replace(first, seed=1, metrics={**wide, "f1": estimate("f1", 0.7, 0.5, 0.8)})
    table = results_table([first, second], "T")
    assert table.title == "T (mean ± standard deviation over 2 seeds; [95% interval over classes])"
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert row["F1"] == "0.750 ±.071 [.600–.850]"
    assert row["Recall@1"] == "0.900 ±.000 [.850–1.000]"
    assert row["precision"] == "0.700 ±.000"  # only headlines have room for an interval


def test_an_assessment_has_a_row_a_metric_and_says_why_a_value_is_missing() -> None:
    metrics = {
        "f1": Estimate(0.8, 0.7, 0.9),
        "threshold": Estimate(0.25, unit="distance"),
        "eer": Estimate(None, note="few"),
    }
    table = assessment_table(metrics, {"intervals": {"level": 0.9}}, "e.npz")
    assert table.headings == ("metric", "value", "90% interval", "")
    assert table.rows == [
        ["f1", "0.8000", "0.7000 – 0.9000", ""],
        ["threshold", "0.2500", "", "distance"],
        ["eer", "–", "", "few"],
    ]
    plain = json.loads(assessment_json(metrics, {"images": 3}, ["mind"]))
    assert plain["metrics"]["f1"]["high"] == 0.9
    assert (plain["evaluation"], plain["notes"]) == ({"images": 3}, ["mind"])


def test_speeds_and_memory_have_columns_where_they_were_measured() -> None:
    speed = {**GAP.speed, "latency_p50": Timing(2.34, unit="ms"), "training_images_per_second": Timing(None)}
    memory = {"peak_host": Timing(5e6), "peak_cuda": Timing(7e6)}
    table = results_table([replace(GAP, speed=speed, memory=memory), OTHER], "t")
    (row,) = (dict(zip(table.headings, row, strict=True)) for row in table.rows)
    assert (row["peak MB"], row["images/s"], row["ms for one"]) == ("7", "1,234", "2.3")
    assert not {"trained/s", "ONNX/s", "accuracy (pair list)"} & row.keys()


def test_columns_of_the_suite_s_question_come_first_and_are_kept() -> None:
    records = [
        replace(
            GAP,
            metrics={
                **METRICS,
                "map_at_r": Estimate(0.5, heading="MAP@R"),
                "own": Estimate(0.25, 0.2, 0.3),
            },
        )
    ]
    usual = results_table(records, "t")
    assert usual.headings[: usual.keep] == ["case", "Recall@1", "F1", "MB", "images/s"]
    assert headline_metrics(records) == {"recall_at_1": "Recall@1", "f1": "F1"}
    asked = results_table(records, "t", ("map_at_r", "own", "images_per_second", "elsewhere"))
    assert asked.headings[: asked.keep] == ["case", "MAP@R", "own", "MB", "images/s"]
    assert asked.rows[0][:3] == ["gap", "0.500", "0.250 [.200–.300]"]
    assert set(usual.headings) < set(asked.headings)
    assert list(headline_metrics(records, ("own", "map_at_r"))) == ["own", "map_at_r"]


def test_columns_come_from_what_the_records_announce() -> None:
    announced = {
        "purity": Estimate(0.5, 0.4, 0.6, heading="Purity", headline=True),
        "median_rank": Estimate(12_345.67, higher_is_better=False, headline=True),
        "leak": Estimate(1.234e-5, heading="leak"),
        "quiet": Estimate(0.1),
    }
    table = results_table([replace(GAP, metrics=announced)], "t")
    assert table.headings == ["case", "Purity", "median_rank", "MB", "images/s", "leak"]
    assert table.rows == [["gap", "0.500 [.400–.600]", "12,345.7", "12.35", "1,234", "1.2e-05"]]
    assert table.keep == 5
    assert headline_metrics([replace(GAP, metrics=announced)]) == {
        "purity": "Purity",
        "median_rank": "median_rank",
    }


def test_a_speed_measured_on_a_disturbed_machine_is_marked() -> None:
    timings = {
        "images_per_second": Timing(900.0, (900.0,) * 3, reference=(1.1, 1.2, 1.3)),
        "latency_p50": Timing(2.0, (2.0,) * 3, reference=(1.0, 1.1, 2.0)),
        "onnx_images_per_second": Timing(9.0, (9.0,) * 3),
    }
    loaded = replace(GAP, speed=timings, measured={"reference_minimum": 1.0})
    table = results_table([loaded], "t")
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert (row["images/s"], row["ms for one"], row["ONNX/s"]) == ("~900", "2.0", "9")
    note = "~ images/s: other work slowed the machine meanwhile; run --measure-again measures again"
    assert notes_of([loaded])[-1] == note
    for unknown in ({}, {"reference_minimum": None}):
        assert not replace(loaded, measured=unknown).is_disturbed("images_per_second")


def test_a_table_of_failed_cases_says_so() -> None:
    assert results_table([FAILED], "t").rows == [["squeeze", "0/1", "failed"]]


def test_two_metrics_with_one_heading_are_told_apart_by_their_names() -> None:
    same = {name: Estimate(0.5, heading="F1", headline=True) for name in ("f1", "own_f1")}
    assert results_table([replace(GAP, metrics=same)], "t").headings[1:3] == ["f1", "own_f1"]


def test_metrics_of_any_size_are_readable() -> None:
    values = (0.0, 0.5, -0.25, 999.9, 1000.0, -12_345.67, 0.0005, 0.00049, -2e-9)
    assert [metric_text(value) for value in values] == [
        "0.000", "0.500", "-0.250", "999.900", "1,000.0", "-12,345.7", "0.001", "4.9e-04", "-2.0e-09"
    ]  # fmt: skip
    assert metric_text(0.00049, 4) == "0.0005"
    assert metric_text(0.0001, like=0.5) == "0.000"
    assert metric_text(0.5, like=1e-5) == "5.0e-01"


def test_seeds_have_a_column_only_where_they_differ() -> None:
    assert "seeds" not in results_table([GAP, OTHER], "t").headings
    assert results_table([GAP], "t").title == "t (1 seed)"
    assert "seeds" in results_table([GAP, OTHER, replace(GAP, case="flatten")], "t").headings


def test_sentences_stand_between_table_and_notes() -> None:
    lines = results_markdown([replace(GAP, notes=("mind",))], "T", (), ["A is best", "B too"]).splitlines()
    assert lines[-6:] == ["", "A is best", "", "B too", "", "- mind"]


def with_threshold(seed: int, value: float, low: float, high: float, **remarks: str) -> Record:
    threshold = estimate("threshold", value, low, high, unit="distance", higher_is_better=None)
    evaluation = {"threshold": {"distance": value, "note": "", "remarks": remarks}} if remarks else {}
    return replace(GAP, seed=seed, metrics={**METRICS, "threshold": threshold}, evaluation=evaluation)


def cell(*records: Record) -> str:
    table = results_table(records, "")
    return dict(zip(table.headings, table.rows[0], strict=True))["at distance"]


def test_a_threshold_has_its_interval_and_what_is_wrong_with_it() -> None:
    record = with_threshold(0, 0.25, 0.2, 0.35, **{"misses target": "precision .87 misses .95"})
    assert cell(record) == "0.250 [.200–.350] (misses target)"
    assert cell(with_threshold(0, 0.25, 0.2, 0.35)) == "0.250 [.200–.350]"
    row = assessment_table(record.metrics, record.evaluation, "").rows[list(METRICS).index("threshold")]
    assert row == ["threshold", "0.2500", "0.2000 – 0.3500", "distance, misses target"]


def test_thresholds_of_seeds_that_no_interval_explains_are_told() -> None:
    near, far = with_threshold(0, 0.291, 0.25, 0.32), with_threshold(1, 0.077, 0.06, 0.1)
    assert cell(near, far) == "0.184 ±.151 [.155–.210] (seeds differ)"
    assert notes_of([near, far, with_threshold(2, 0.1, 0.08, 0.2)]) == [
        "gap: thresholds of the seeds differ by more than their intervals, from 0.077 (seed 1) to "
        "0.291 (seed 0); each belongs to the model of its seed, and their mean to none"
    ]
    wide = with_threshold(1, 0.077, 0.06, 0.26)
    assert (
        notes_of([near, wide]) == notes_of([near, replace(far, case="other")]) == notes_of([GAP, OTHER]) == []
    )

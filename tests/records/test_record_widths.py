from __future__ import annotations

from dataclasses import replace

from made_records import record

from mlbench.records.record import Estimate
from mlbench.records.report import headline_metrics, notes_of, results_markdown, results_table
from mlbench.records.widths import cut_record, nested_estimates, widths_of
from mlbench.regression.comparison import compare

WHOLE = {
    "threshold": Estimate(0.3, 0.2, 0.4, unit="distance", higher_is_better=None, heading="at distance"),
    "f1": Estimate(0.8, 0.7, 0.9, heading="F1", headline=True, tolerance=0.02),
}
INNER = {
    "threshold": replace(WHOLE["threshold"], value=0.1, low=0.05, high=0.15),
    "f1": replace(WHOLE["f1"], value=0.6, low=0.5, high=0.7),
}
NESTED = record(
    metrics={**WHOLE, **nested_estimates(INNER, 4)},
    settings={"widths": [4, 8]},
    size={"bytes": 1_000_000},
    evaluation={
        "threshold": {"distance": 0.3},
        "widths": {"4": {"threshold": {"distance": 0.1, "remarks": {"few pairs": "only few"}}}},
    },
)
PLAIN = replace(record(metrics=WHOLE, size={"bytes": 1_000_000}), case="plain")


def test_a_cut_record_has_the_metrics_and_the_threshold_of_the_width() -> None:
    assert widths_of(NESTED) == (4, 8)
    assert widths_of(PLAIN) == ()
    found = cut_record(NESTED, 4)
    assert found.metrics == INNER  # with headings and tolerance, as those of the whole
    assert found.evaluation["threshold"]["distance"] == 0.1


def test_nested_metrics_have_no_column_and_no_tolerance() -> None:
    assert list(NESTED.metrics) == ["threshold", "f1", "threshold@4", "f1@4"]
    assert [NESTED.metrics[name].heading for name in ("threshold@4", "f1@4")] == ["", ""]
    assert NESTED.metrics["f1@4"].tolerance is None


def test_a_width_has_a_row_below_its_case() -> None:
    table = results_table([PLAIN, NESTED], "t")
    assert list(table.headings) == ["case", "F1", "MB", "at distance"]
    assert [list(row) for row in table.rows] == [
        ["plain", "0.800 [.700–.900]", "1.00", "0.300 [.200–.400]"],
        ["gap", "0.800 [.700–.900]", "1.00", "0.300 [.200–.400]"],
        ["  width 4", "0.600 [.500–.700]", "", "0.100 [.050–.150] (few pairs)"],
    ]
    assert "|   width 4 | 0.600 [.500–.700] |  | 0.100" in results_markdown([NESTED], "t")


def test_a_tolerance_of_a_width_brings_the_column_of_its_metric() -> None:
    assert headline_metrics([NESTED], ["f1@4", "f1"]) == {"f1": "F1"}
    assert list(results_table([NESTED], "t", ["threshold@4"]).headings)[1] == "at distance"


def test_a_gate_watches_a_width_where_the_suite_states_a_tolerance() -> None:
    before = [replace(NESTED, seed=seed) for seed in range(4)]
    lower = replace(NESTED.metrics["f1@4"], value=0.5)
    after = [replace(each, metrics={**each.metrics, "f1@4": lower}) for each in before]
    assert compare(before, after, {}).regressions == ()
    (found,) = compare(before, after, {"f1@4": 0.02}).regressions
    assert found.name == "f1@4"


def test_thresholds_of_seeds_that_differ_at_a_width_are_told() -> None:
    metrics = {**NESTED.metrics, "threshold@4": Estimate(0.9, 0.8, 1.0)}
    notes = notes_of([NESTED, replace(NESTED, seed=1, metrics=metrics)])
    assert len(notes) == 1
    assert notes[0].startswith("gap at width 4: thresholds of the seeds differ")

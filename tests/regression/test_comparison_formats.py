from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from mlbench.regression.change import Change, Verdict
from mlbench.regression.comparison import Comparison, Missing
from mlbench.regression.comparison_formats import (
    comparison_github,
    comparison_json,
    comparison_junit,
    comparison_markdown,
    comparison_notes,
    comparison_table,
    missing_sentences,
    summary,
)

WORSE = Change(
    "a|b", "metrics", "recall_at_1", 0.9, 0.85, -0.05, -0.06, -0.04,
    tolerance=0.02, samples=3, gated=True, verdict=Verdict.WORSE,
)  # fmt: skip
UNDECIDED = Change(
    "gap", "metrics", "f1", 0.9, 0.85, -0.05, -0.2, 0.1,
    tolerance=0.02, samples=2, gated=True, verdict=Verdict.INCONCLUSIVE, note="2 seeds; 50 would show it",
)  # fmt: skip
FASTER = Change(
    "gap", "speed", "images_per_second", 1000.0, 1500.0, 0.5, 0.4, 0.6,
    tolerance=0.1, samples=7, gated=True, verdict=Verdict.BETTER,
)  # fmt: skip
MOVED = Change("gap", "metrics", "threshold", 0.3, 0.4, 0.1, 0.05, 0.15, samples=3)
LOST = Missing("old", "", "after", "no record", gated=True)
NEW = Missing("new", "f1", "before", "no record", gated=True)
FOUND = Comparison((WORSE, UNDECIDED, FASTER, MOVED), (LOST, NEW), ("a note",))


def test_table_has_one_row_per_quantity() -> None:
    rows = comparison_table(FOUND, "title").rows
    assert rows == [
        ["a|b", "recall_at_1", "0.9000", "0.8500", "-0.0500", "-0.0600 – -0.0400", "0.02", "worse"],
        ["gap", "f1", "0.9000", "0.8500", "-0.0500", "-0.2000 – +0.1000", "0.02", "too few samples"],
        ["gap", "images_per_second", "1,000", "1,500", "+50.0%", "+40.0% – +60.0%", "10%", "better"],
        ["gap", "threshold", "0.3000", "0.4000", "+0.1000", "+0.0500 – +0.1500", "", "–"],
    ]
    assert len(comparison_table(FOUND, "title", gated=True).rows) == 3


def test_notes_name_missing_quantities_and_what_would_decide_the_rest() -> None:
    assert comparison_notes(FOUND) == [
        "old: missing after: no record",
        "new f1: missing before: no record",
        "gap f1: 2 seeds; 50 would show it",
        "a note",
    ]


def test_markdown_escapes_cells_and_has_a_summary() -> None:
    text = comparison_markdown(FOUND, "title")
    assert text.startswith("### title\n\n2 regressions (1 better, 1 worse, 1 too few samples; 1 missing)\n\n")
    assert "| a\\|b | recall_at_1 | 0.9000 |" in text
    assert "|\n| --- | --- | ---: |" in text
    assert text.endswith("- gap f1: 2 seeds; 50 would show it\n- a note\n")


def test_json_has_all_changes() -> None:
    data = json.loads(comparison_json(FOUND))
    assert data["regressions"] == 2
    assert [each["verdict"] for each in data["changes"]] == ["worse", "inconclusive", "better", None]
    assert [each["relative"] for each in data["changes"]] == [False, False, True, False]
    assert data["missing"][0] == {
        "case": "old", "name": "", "side": "after", "reason": "no record", "gated": True
    }  # fmt: skip


def test_github_annotates_regressions_and_undecided_changes() -> None:
    slower = Change("a\nb", "speed", "x", 2.0, 1.0, -0.5, tolerance=0.1, gated=True, verdict=Verdict.WORSE)
    lines = comparison_github(Comparison((slower, UNDECIDED), (LOST,)), "suite: s, 1").splitlines()
    assert lines == [
        "::error title=suite%3A s%2C 1::a b x: worse, 2 before, 1 after, -50.0%25; tolerance 10%25",
        "::error title=suite%3A s%2C 1::old: missing (no record)",
        "::warning title=suite%3A s%2C 1::gap f1: too few samples, 0.9000 before, 0.8500 after, "
        "-0.0500 [-0.2000 – +0.1000]; tolerance 0.02; 2 seeds; 50 would show it",
        "::notice title=suite%3A s%2C 1::2 regressions (1 worse, 1 too few samples; 1 missing)",
    ]


def test_junit_has_a_test_for_each_gated_quantity() -> None:
    root = ElementTree.fromstring(comparison_junit(FOUND, "smoke"))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "2", "1")
    found = {(test.get("classname"), test.get("name")): [child.tag for child in test] for test in root}
    assert found == {
        ("smoke.a|b", "recall_at_1"): ["failure"],
        ("smoke.gap", "f1"): ["skipped"],
        ("smoke.gap", "images_per_second"): [],
        ("smoke.old", "case"): ["failure"],
    }


def test_not_comparable_is_not_shown_as_too_few_samples() -> None:
    other = replace(UNDECIDED, verdict=Verdict.INCOMPARABLE, note="other data")
    found = Comparison((other,))
    assert summary(found) == "no regression (1 not comparable)"
    assert comparison_github(found, "s").startswith("::warning title=s::gap f1: not comparable")


def test_control_characters_break_no_format() -> None:
    bad = Comparison((replace(WORSE, note="\x1b[31mred\x00\nline"),), (replace(LOST, reason="a\x08\nb"),))
    root = ElementTree.fromstring(comparison_junit(bad, "s"))
    assert [each.get("message")[-13:] for each in root.iter("failure")][1] == "missing (a b)"
    assert missing_sentences(bad) == ["old: missing (a b)"]
    for line in (*comparison_notes(bad), *comparison_markdown(bad, "t").splitlines()):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("comparison", "text"),
    [
        (Comparison(()), "no regression (nothing is gated)"),
        (Comparison((WORSE,)), "1 regression (1 worse)"),
        (Comparison((FASTER, UNDECIDED)), "no regression (1 better, 1 too few samples)"),
        (Comparison((), (LOST,)), "1 regression (1 missing)"),
    ],
)
def test_summary_is_one_line(comparison: Comparison, text: str) -> None:
    assert summary(comparison) == text


def test_a_metric_of_any_size_is_readable() -> None:
    small = Change("gap", "metrics", "leak", 1e-5, 3e-5, 2e-5, -1e-6, 4e-5, samples=3)
    large = Change("gap", "metrics", "rank", 12_345.0, 12_340.0, -5.0, -9.0, -1.0, samples=3)
    rows = [list(row) for row in comparison_table(Comparison((small, large)), "").rows]
    assert rows[0][2:6] == ["1.0e-05", "3.0e-05", "+2.0e-05", "-1.0e-06 – +4.0e-05"]
    assert rows[1][2:6] == ["12,345.0", "12,340.0", "-5.0", "-9.0 – -1.0"]

from __future__ import annotations

from mlbench_datasets.notes import left_out, remarked


def test_left_out_names_every_reason_before_it_repeats_one() -> None:
    reasons = {0: "cut", 1: "cut", 3: "cut", 4: "HEIC", 5: "cut"}
    assert left_out(list("abcdef"), reasons) == (
        "5 of 6 images left out as unreadable: a (cut), e (HEIC), b (cut), and 2 more"
    )


def test_remarks_are_a_line_each() -> None:
    remarks = {0: ["dark"], 2: ["dark", "odd"], 3: ["dark"], 4: ["dark"]}
    assert remarked(list("abcde"), remarks) == [
        "dark: 4 of 5 images (a, c, d, and 1 more)",
        "odd: 1 of 5 images (c)",
    ]

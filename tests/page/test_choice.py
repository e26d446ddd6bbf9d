"""The recommended case, the front, and the images of a page, by hand and against naive oracles."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import record
from PIL import Image

from mlbench.page.cases import CaseRow, Figure, case_rows
from mlbench.page.choice import choose
from mlbench.page.images import Images, ImageSource
from mlbench.page.writer import chart_json
from mlbench.records.record import Estimate, Record, Timing
from mlbench.regression.ranking import rankings
from mlbench_sections.trade_offs import front

HEADINGS = {"recall_at_1": "Recall@1", "f1": "F1"}


def records(
    case: str, scores: list[float], size: int, *, f1: float = 0.5, speed: float = 100
) -> list[Record]:
    return [
        record(
            seed,
            case=case,
            metrics={
                "recall_at_1": Estimate(score, score - 0.05, score + 0.05, headline=True),
                "f1": Estimate(f1 + seed / 1000, headline=True),
            },
            size={"bytes": size},
            speed={"images_per_second": Timing(speed, (speed,))},
        )
        for seed, score in enumerate(scores)
    ]


def chosen(*groups: list[Record], headings: dict[str, str] | None = None) -> object:
    every = [each for group in groups for each in group]
    return choose(rankings(every, headings or {"recall_at_1": "Recall@1"}, {}), case_rows(every))


def test_the_best_beyond_noise_is_taken() -> None:
    good, bad = records("good", [0.90, 0.91, 0.905], 9_000_000), records("bad", [0.5, 0.51, 0.5], 1_000_000)
    choice = chosen(good, bad)
    assert (choice.case, choice.equal) == ("good", ("good",))
    assert choice.reasons == ("Recall@1 0.905 is the best, by more than noise.",)
    assert choice.doubts == ()


def test_of_equal_cases_the_smallest_is_taken() -> None:
    large, small = records("large", [0.90, 0.80], 9_000_000), records("small", [0.85, 0.84], 1_000_000)
    choice = chosen(large, small)
    assert choice.case == "small"
    assert choice.reasons == (
        "Recall@1 0.845 equals the best (large, 0.850) within the noise of 2 seeds.",
        "Of the 2 cases of which that is true, it is the smallest (1.00 MB).",
    )
    assert choice.doubts == (
        "With 2 seeds, small differences between cases cannot be told from noise; more seeds can.",
    )


def test_of_equally_small_cases_the_fastest_is_taken() -> None:
    slow, fast = records("slow", [0.90, 0.80], 1_000_000), records("fast", [0.85, 0.84], 1_000_000, speed=200)
    choice = chosen(slow, fast)
    assert choice.case == "fast"
    assert choice.reasons[-1].endswith("it is the fastest measured (200 images/s).")


def test_a_second_metric_decides_between_equals_or_objects() -> None:
    a = records("a", [0.90, 0.80, 0.85], 1_000_000, f1=0.2)
    b = records("b", [0.85, 0.84, 0.83], 9_000_000, f1=0.7)
    assert chosen(a, b, headings=HEADINGS).case == "b"
    clear = records("c", [0.99, 0.98, 0.985], 1_000_000, f1=0.2)
    choice = chosen(clear, b, headings=HEADINGS)
    assert choice.case == "c"
    assert choice.doubts == ("F1 would choose otherwise: b has 0.701 and c 0.201, more than noise apart.",)


def test_without_a_ranking_no_case_or_the_only_one() -> None:
    assert choose([], ()).case == ""
    alone = records("alone", [0.9], 1)
    assert choose([], case_rows(alone)).case == "alone"
    other = [record(0, case="other", metrics={}, settings={"dataset": {"name": "x"}})]
    assert choose([], case_rows([*alone, *other])).case == ""


def test_figures_are_means_over_seeds() -> None:
    failed = record(2, case="a", status="failed", error="no")
    (row,) = case_rows([*records("a", [0.5, 0.7], 10), failed])
    assert row.seeds == (0, 1)
    assert row.failed == {2: "no"}
    figure = row.figures["recall_at_1"]
    assert (figure.value, figure.seeds) == (pytest.approx(0.6), 2)
    assert figure.spread == pytest.approx(0.1414, abs=1e-4)
    assert (figure.low, figure.high) == (pytest.approx(0.55), pytest.approx(0.65))
    assert row.value("bytes") == 10
    assert row.value("latency_p50") is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_the_front_is_what_no_case_beats(points: list[tuple[int, int]], higher: bool, more: bool) -> None:
    rows = [
        CaseRow(str(at), (0,), {"m": Figure(m), "c": Figure(c)}, {}, {}) for at, (m, c) in enumerate(points)
    ]

    def beats(one: CaseRow, other: CaseRow) -> bool:
        m, c = (
            one.figures["m"].value - other.figures["m"].value,
            one.figures["c"].value - other.figures["c"].value,
        )
        m, c = (m if higher else -m), (c if more else -c)
        return m >= 0 and c >= 0 and (m > 0 or c > 0)

    expected = {row.name for row in rows if not any(beats(other, row) for other in rows)}
    assert {row.name for row in front(rows, "m", "c", higher=higher, more=more)} == expected


def source(key: str = "data test", side: int = 200) -> ImageSource:
    def read(index: int) -> Image.Image:
        if index == 3:
            raise OSError("gone")
        return Image.new("RGB", (side, side // 2), (index, 0, 0))

    return ImageSource(key, read)


def test_an_image_is_embedded_once_and_small() -> None:
    images = Images()
    assert [images.number(source(), index) for index in (5, 1, 5, 3)] == [0, 1, 0, 2]
    assert images.number(source("other"), 5) == 3
    assert images.number(None, 5) is None
    assert images.number(source(), -1) is None
    found, notes = images.encoded()
    kept = [each for each in found if each]
    assert [bool(each) for each in found] == [True, True, False, True]
    assert notes == ["1 images cannot be read any more and are not shown"]
    for text in kept:
        image = Image.open(io.BytesIO(base64.b64decode(text.removeprefix("data:image/webp;base64,"))))
        assert image.size == (96, 48)


def test_images_stay_within_their_limit() -> None:
    images = Images(limit=400)
    for index in range(10, 30):
        images.number(source(), index)
    found, notes = images.encoded()
    assert 0 < sum(map(len, found)) < 400 + max(map(len, found))
    assert notes == [f"{found.count('')} of 20 images are left out, so that the page stays small"]
    hidden = Images(shown=False)
    assert hidden.number(source(), 1) is None
    assert hidden.encoded() == ([], [])


def test_json_ends_no_script() -> None:
    text = chart_json({"name": "</script><!--\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        chart_json([float("nan")])

"""Copies against a comparison of all pairs of images."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.inspection.copies import copy_findings, different_images, near_findings
from mlbench.inspection.findings import Finding, ImageName
from mlbench.inspection.near import NearPairs
from mlbench.inspection.pool import Pool
from mlbench.inspection.subject import Part, Shown


class Nameless:
    """Images that are never read."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def read(self, index: int) -> Shown:
        raise AssertionError("read")

    def name(self, index: int) -> str:
        return self.names[index]


#: An image: split, class ("" for none), group (-1 for none), content.
Row = tuple[str, str, int, int]
SPLIT_ORDER = ("train", "calibration", "test")


def pool_of(rows: list[Row]) -> tuple[Pool, np.ndarray, list[Row]]:
    """The pool of some images, their digests, and the rows in the pool's order."""
    parts, ordered = [], []
    for split in SPLIT_ORDER:
        here = [(row, f"{number}.png") for number, row in enumerate(rows) if row[0] == split]
        classes = sorted({row[1] for row, _ in here if row[1]})
        labels = [classes.index(row[1]) if row[1] else -1 for row, _ in here]
        groups = np.array([row[2] for row, _ in here], np.int64)
        parts.append(
            Part(split, Nameless([name for _, name in here]), np.array(labels, np.int64), classes, groups)
        )
        ordered += [row for row, _ in here]
    digests = np.array([bytes([row[3]]) * 16 for row in ordered] or [b""], "V16")[: len(ordered)]
    return Pool(parts), digests, ordered


def compared(one: Row, two: Row) -> bool:
    return one[1] != two[1] or one[2] < 0 or one[2] != two[2]


rows_of_images = st.lists(
    st.tuples(
        st.sampled_from(SPLIT_ORDER),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([-1, -1, 0, 1]),
        st.integers(0, 4),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(rows_of_images)
def test_copies_are_those_of_all_pairs(rows: list[Row]) -> None:
    pool, digests, ordered = pool_of(rows)
    found = {each.name: each for each in copy_findings(pool, digests, np.ones(len(ordered), bool))}
    pairs = [(one, two) for one, two in combinations(ordered, 2) if one[3] == two[3] and compared(one, two)]
    assert ("copies_across_splits" in found) == any(one[0] != two[0] for one, two in pairs)
    conflict = [pair for pair in pairs if pair[0][1] != pair[1][1] and "" not in (pair[0][1], pair[1][1])]
    assert ("copies_across_classes" in found) == bool(conflict)
    inside = any(one[:2] == two[:2] for one, two in pairs)
    assert ("copies_within_class" in found) == inside
    contents = {one[3] for one, two in pairs if one[0] != two[0]}
    if "copies_across_splits" in found:
        assert len(found["copies_across_splits"].groups) == len(contents)


def shapes(found: list[Finding]) -> list[object]:
    """Findings without what depends on the order of the images: their indices."""
    return [
        (
            each.name,
            each.text,
            [[(image.split, image.label, image.file) for image in group.images] for group in each.groups],
        )
        for each in found
    ]


@settings(max_examples=50, deadline=None)
@given(rows_of_images, st.randoms())
def test_the_order_of_the_images_changes_nothing(rows: list[Row], random: object) -> None:
    named = [(*row, f"{number:02d}.png") for number, row in enumerate(rows)]
    shuffled = list(named)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def found(images: list[tuple[str, str, int, int, str]]) -> list[object]:
        pool, digests, _ = pool_of([image[:4] for image in images])
        for part in pool.parts:
            part.source.names = [image[4] for image in images if image[0] == part.split]  # type: ignore[attr-defined]
        return shapes(list(copy_findings(pool, digests, np.ones(len(images), bool))))

    assert found(named) == found(shuffled)


def test_counts_and_examples() -> None:
    rows: list[Row] = [
        ("train", "a", -1, 1), ("train", "a", -1, 2), ("train", "a", -1, 2), ("train", "b", -1, 3),
        ("test", "a", -1, 1), ("test", "c", -1, 1), ("test", "c", -1, 4), ("test", "d", -1, 4),
    ]  # fmt: skip
    pool, digests, _ = pool_of(rows)
    across, conflicts, inside = copy_findings(pool, digests, np.ones(8, bool))
    assert (across.level, across.count) == ("error", 2)
    assert across.text == "the same image is in two splits: 2 of test in train"
    assert [image.file for image in across.groups[0].images] == ["0.png", "4.png", "5.png"]
    assert across.groups[0].images[1] == ImageName("test", 0, "a", "4.png")
    assert (conflicts.level, conflicts.count) == ("error", 5)
    assert [len(group.images) for group in conflicts.groups] == [3, 2]
    assert (inside.level, inside.count) == ("warning", 1)
    assert [image.file for image in inside.groups[0].images] == ["1.png", "2.png"]


def test_images_that_cannot_be_read_are_no_copies() -> None:
    pool, digests, _ = pool_of([("train", "a", -1, 1), ("test", "a", -1, 1)])
    assert list(copy_findings(pool, digests, np.array([True, False]))) == []
    assert different_images(pool, digests, np.array([True, False])).tolist() == [0]


def test_one_image_of_each_content_is_searched_for_near_duplicates() -> None:
    pool, digests, _ = pool_of(
        [("train", "b", -1, 1), ("train", "a", -1, 1), ("test", "a", -1, 1), ("test", "a", -1, 2)]
    )
    assert different_images(pool, digests, np.ones(4, bool)).tolist() == [1, 3]


def test_near_duplicates_are_grouped_across_splits_first() -> None:
    pool, _, _ = pool_of(
        [
            ("train", "a", -1, 1),
            ("train", "a", -1, 2),
            ("train", "b", -1, 3),
            ("train", "b", -1, 4),
            ("test", "c", -1, 5),
        ]
    )
    pairs = NearPairs(np.array([0, 1, 2]), np.array([1, 4, 3]), np.array([0.99, 0.93, 0.95], np.float32), 3)
    across, within = near_findings(pool, np.arange(5), pairs)
    assert (across.name, across.level, across.count) == ("near_across_splits", "warning", 3)
    # The two images that are in different splits come first, though another pair is more similar.
    assert [image.file for image in across.groups[0].images] == ["1.png", "4.png", "0.png"]
    assert across.groups[0].similarity == 0.93
    assert (within.name, within.level, within.count) == ("near_within_class", "note", 2)


def test_near_duplicates_of_one_group_are_never_compared() -> None:
    pool, _, _ = pool_of([("train", "a", 0, 1), ("test", "a", 0, 2)])
    pairs = NearPairs(np.array([0]), np.array([1]), np.array([0.99], np.float32), 1)
    assert list(near_findings(pool, np.arange(2), pairs)) == []

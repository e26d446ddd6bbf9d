from __future__ import annotations

import numpy as np
import pytest

from mlbench.evaluation import cpu_kernels

GENERATOR = np.random.default_rng(0)


def tile(rows: int, columns: int, levels: int = 9, side: int = 160) -> np.ndarray:
    """A tile with many equal scores; scores outside rows x columns would change the results."""
    scores = np.full((side, side), 7, np.float32)
    scores[:rows, :columns] = GENERATOR.integers(-levels, levels, size=(rows, columns)) / np.float32(levels)
    return scores


SHAPES = [(1, 1), (1, 150), (150, 1), (64, 65), (130, 130), (100, 63)]
shapes = pytest.mark.parametrize(("rows", "columns"), SHAPES)


def ragged(rows: int, most: int, base: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Ascending positives of each row, none for some rows, and offsets that do not start at 0."""
    counts = GENERATOR.integers(0, most + 1, size=rows)
    offsets = np.concatenate([[0], np.cumsum(counts)]) + base
    positives = GENERATOR.integers(-9, 9, size=counts.sum()) / np.float32(9)
    for start, end in zip(offsets[:-1] - base, offsets[1:] - base, strict=True):
        positives[start:end].sort()
    return positives, offsets


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows_divides_once_and_pads_with_zeros(dtype: type) -> None:
    vectors = GENERATOR.normal(size=(20, 7)).astype(dtype)
    images = GENERATOR.permutation(20)[:5]
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)[images]
    rows = np.full((9, 7), 3, np.float32)
    cpu_kernels.unit_rows(vectors, images, norms, rows)
    assert np.array_equal(rows[:5], (vectors[images].astype(np.float64) / norms[:, None]).astype(np.float32))
    assert not rows[5:].any()


@shapes
@pytest.mark.parametrize("upper", [False, True])
def test_collect_scores_keeps_scores_from_the_floor(rows: int, columns: int, upper: bool) -> None:
    scores, floor = tile(rows, columns), np.float32(1 / 9)
    kept = np.full(3 + rows * columns, -9, np.float32)
    reaches = GENERATOR.random(rows) < 0.7
    count = cpu_kernels.collect_scores(scores, rows, columns, upper, floor, reaches, kept, 3)
    naive = [
        scores[row, column]
        for row in np.flatnonzero(reaches)
        for column in range(columns)
        if scores[row, column] >= floor and (column > row or not upper)
    ]
    assert kept[3:count].tolist() == naive
    assert kept[:3].tolist() == [-9, -9, -9]


@shapes
@pytest.mark.parametrize("upper", [False, True])
def test_count_histograms_counts_for_the_classes_of_row_and_column(
    rows: int, columns: int, upper: bool
) -> None:
    scores, floor, scale = tile(rows, columns), np.float32(-1 / 3), np.float32(7.5)
    row_class = np.sort(GENERATOR.integers(3, size=rows))
    column_class = np.sort(GENERATOR.integers(4, size=columns))
    by_row, by_column = np.zeros((3, 10), np.int32), np.zeros((4, 10), np.int32)
    reaches = GENERATOR.random(rows) < 0.7
    cpu_kernels.count_histograms(
        scores, rows, columns, upper, floor, reaches, scale, row_class, column_class, by_row, by_column
    )
    naive_row, naive_column = np.zeros_like(by_row), np.zeros_like(by_column)
    for row in np.flatnonzero(reaches):
        for column in range(row + 1 if upper else 0, columns):
            if scores[row, column] >= floor:
                slot = min(9, int((scores[row, column] - floor) * scale))
                naive_row[row_class[row], slot] += 1
                naive_column[column_class[column], slot] += 1
    assert np.array_equal(by_row, naive_row)
    assert np.array_equal(by_column, naive_column)


def test_count_positive_histograms_counts_for_the_class_of_the_row() -> None:
    positives, offsets = ragged(40, 12)
    labels = np.sort(GENERATOR.integers(5, size=40))
    floor, scale = np.float32(-1 / 3), np.float32(7.5)
    histograms, naive = np.zeros((5, 10)), np.zeros((5, 10))
    cpu_kernels.count_positive_histograms(positives, offsets, labels, floor, scale, histograms)
    for row, label in enumerate(labels):
        for score in positives[offsets[row] - offsets[0] : offsets[row + 1] - offsets[0]]:
            if score >= floor:
                naive[label, min(9, int((score - floor) * scale))] += 1
    assert np.array_equal(histograms, naive)


def test_count_at_edges_adds_the_scores_at_and_above_every_edge() -> None:
    edges = np.unique(GENERATOR.integers(-50, 50, size=40)).astype(np.float32)
    above, ties = np.full((2, len(edges)), 100)
    for count in (0, 1, 500):
        kept = np.sort(GENERATOR.integers(-60, 60, size=count)).astype(np.float32)
        before = above.copy(), ties.copy()
        cpu_kernels.count_at_edges(kept, edges, above, ties)
        assert (above - before[0]).tolist() == [(kept >= edge).sum() for edge in edges]
        assert (ties - before[1]).tolist() == [(kept == edge).sum() for edge in edges]


@shapes
@pytest.mark.parametrize("most", [0, 1, 6, 60])
def test_count_between_equals_a_naive_count_sorted_or_not(rows: int, columns: int, most: int) -> None:
    scores = tile(rows, columns)
    scores[:rows, :columns][GENERATOR.random((rows, columns)) < 0.2] = cpu_kernels.EXCLUDED
    positives, offsets = ragged(rows, most)
    naive = np.full(len(positives), 50, np.int32)
    reaches = GENERATOR.random(rows) < 0.7
    for row in np.flatnonzero(reaches):
        own = range(offsets[row] - offsets[0], offsets[row + 1] - offsets[0])
        for k in own:
            # Of equal positives, the last counts the scores above.
            below = positives[k + 1] if k + 1 in own else np.inf
            line = scores[row, :columns]
            naive[k] += ((line >= positives[k]) & (line < below)).sum()
    between = np.full_like(naive, 50)
    cpu_kernels.count_between(scores, rows, columns, reaches, positives, offsets, between)
    assert np.array_equal(between, naive)
    ordered = scores.copy()
    ordered[:rows, :columns].sort(axis=1)
    again = np.full_like(naive, 50)
    cpu_kernels.count_between_sorted(ordered, rows, columns, reaches, positives, offsets, again)
    assert np.array_equal(again, naive)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (100, 128), (3, 50), (128, 0)])
def test_find_reaching_finds_rows_and_columns_with_a_score_to_count(rows: int, columns: int) -> None:
    scores = GENERATOR.normal(size=(128, 128)).astype(np.float32)
    scores[:rows, 5] = scores[7] = cpu_kernels.EXCLUDED
    row_lowest, column_lowest = (
        GENERATOR.uniform(1, 3, count).astype(np.float32) for count in (rows, columns)
    )
    row_lowest[::3] = np.inf
    for floor in (np.float32(2), np.float32(9)):
        reaches, best = np.zeros(rows, bool), np.empty(128, np.float32)
        count = cpu_kernels.find_reaching(scores, rows, floor, row_lowest, column_lowest, reaches, best)
        assert np.array_equal(reaches, scores[:rows].max(1) >= np.minimum(floor, row_lowest))
        assert np.array_equal(best, scores[:rows].max(0))
        assert count == (scores[:rows, :columns].max(0) >= column_lowest).sum()


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (100, 128), (3, 50), (128, 7)])
@pytest.mark.parametrize("both", [True, False])
def test_find_nearest_equals_naive_maxima_and_find_reaching(rows: int, columns: int, both: bool) -> None:
    # Few different scores, so that most rows and columns have equal ones.
    scores = GENERATOR.integers(-4, 4, size=(128, 128)).astype(np.float32) / 4
    scores[:rows, 5] = cpu_kernels.EXCLUDED
    lowest = [GENERATOR.uniform(-1, 1, count).astype(np.float32) for count in (rows, columns)]
    inside, cutoff, far = scores[:rows, :columns].copy(), np.float32(0.5), np.float32(9)

    def known(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best = np.full(count, cpu_kernels.EXCLUDED)
        best[0] = 2  # better than all of these
        return best, np.full(count, -1, np.int32), np.full(count, 10, np.int32)

    of_rows, of_columns = known(128), known(128 if both else 0) if both else (np.empty(0, np.float32),) * 3
    reaches, best = np.zeros((2, rows), bool), np.empty((2, 128), np.float32)
    count = cpu_kernels.find_nearest(
        *(scores, rows, far, *lowest, reaches[0], best[0], columns, cutoff, 1000, 2000, of_rows, of_columns)
    )
    # Columns that pad the tile are excluded now.
    assert (scores[:rows, columns:] == cpu_kernels.EXCLUDED).all()
    assert count == cpu_kernels.find_reaching(scores, rows, far, *lowest, reaches[1], best[1])
    assert np.array_equal(*reaches)
    assert np.array_equal(*best)
    for found, values, first in ((of_rows, inside, 2000), (of_columns, inside.T, 1000))[: 1 + both]:
        similarity, place, accepted = (each[: len(values)] for each in found)
        assert (similarity[0], place[0]) == (2, -1)
        assert np.array_equal(similarity[1:], values.max(1)[1:])
        searched = values.max(1)[1:] > cpu_kernels.EXCLUDED
        assert np.array_equal(place[1:][searched], values.argmax(1)[1:][searched] + first)
        assert np.array_equal(accepted, 10 + (values >= cutoff).sum(1))


def test_exclude_classes_excludes_every_pair_of_one_class() -> None:
    first = np.array([0, 3, 3, 40, 100])
    for offset in (0, 2, 20, 60):
        labels = np.sort(GENERATOR.integers(4, size=30))
        scores = tile(30, 40)
        naive = scores.copy()
        for row in range(30):
            for column in range(40):
                if first[labels[row]] <= offset + column < first[labels[row] + 1]:
                    naive[row, column] = -2
        cpu_kernels.exclude_classes(scores, 30, 40, labels, first, offset)
        assert np.array_equal(scores, naive)


def test_gather_positives_appends_the_row_s_class_without_its_group() -> None:
    first, offset = np.array([0, 5, 30, 60]), 3
    labels = np.array([0, 0, 1, 2])
    row_groups, column_groups = np.array([100, 101, 102, 103]), np.arange(99, 99 + 40) // 2 * 2
    scores = tile(4, 40)
    found = np.full(200, 9, np.float32)
    cursor = np.array([0, 50, 100, 150])
    cpu_kernels.gather_positives(
        scores, 4, 40, labels, first, offset, row_groups, column_groups, found, cursor
    )
    for row, label in enumerate(labels):
        own = [
            scores[row, column]
            for column in range(40)
            if first[label] <= offset + column < first[label + 1] and column_groups[column] != row_groups[row]
        ]
        assert found[50 * row : cursor[row]].tolist() == own


def test_sort_segments_sorts_short_and_long_segments() -> None:
    counts = np.array([0, 1, 32, 33, 2, 500, 0])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = GENERATOR.normal(size=offsets[-1]).astype(np.float32)
    naive = np.concatenate([np.sort(part) for part in np.split(values, offsets[1:-1])])
    cpu_kernels.sort_segments(values, offsets)
    assert np.array_equal(values, naive)


def test_transpose_transposes() -> None:
    source, target = GENERATOR.normal(size=(2, 48, 48)).astype(np.float32)
    cpu_kernels.transpose(source, target)
    assert np.array_equal(target, source.T)


def test_ranks_from_counts_adds_negatives_above_and_positives_before() -> None:
    # Positives .2 .5 .9 with 4 negatives at or above .2 only, 2 from .5, 1 from .9; then one, then none.
    ranks = cpu_kernels.ranks_from_counts(np.array([4, 2, 1, 3], np.int32), np.array([10, 13, 14, 14]))
    assert ranks.tolist() == [1 + 1, 2 + 1 + 2, 3 + 1 + 2 + 4, 1 + 3]

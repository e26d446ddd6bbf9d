"""Numba functions that count the scores of one tile: at thresholds, in histograms by class, and in rankings.

They release the interpreter lock, so that threads run in parallel. All counts are integers, so their sums do
not depend on the order of the threads.
"""

from __future__ import annotations

import numpy as np

from mlbench.compiled import compiled

__all__ = [
    "EXCLUDED",
    "collect_scores",
    "count_at_edges",
    "count_between",
    "count_between_sorted",
    "count_histograms",
    "count_positive_histograms",
    "exclude_classes",
    "find_nearest",
    "find_reaching",
    "gather_positives",
    "ranks_from_counts",
    "scale_scores",
    "sort_segments",
    "transpose",
    "unit_rows",
]

#: The score of an excluded pair, below every cosine.
EXCLUDED = np.float32(-2.0)

#: Scores that are compared with the floor together; a chunk without a score above it is skipped.
CHUNK = 64


@compiled()
def unit_rows(vectors: np.ndarray, images: np.ndarray, norms: np.ndarray, rows: np.ndarray) -> None:
    """rows[i] = vectors[images[i]] / norms[i] in float32, rounded once; the remaining rows become zero.

    vectors: (N, D) float32 or float64. images, norms: (n,). rows: (>= n, D) float32.
    """
    for row in range(len(images)):
        image = images[row]
        norm = norms[row]
        for at in range(vectors.shape[1]):
            rows[row, at] = vectors[image, at] / norm
    rows[len(images) :] = 0


@compiled()
def scale_scores(scores: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """scores[i, j] *= rows[i] * columns[j], all float32; equal for both orders of a pair."""
    for row in range(len(rows)):
        line = scores[row]
        own = rows[row]
        for column in range(len(columns)):
            line[column] *= own * columns[column]


@compiled()
def exclude_classes(
    scores: np.ndarray, rows: int, columns: int, labels: np.ndarray, first: np.ndarray, offset: int
) -> None:
    """Set the scores of pairs of one class in a tile to `EXCLUDED`.

    scores: (>= rows, >= columns) float32. labels: (>= rows,) of the rows. first: (C + 1,), where each class
    starts among all columns, which are ordered by class. offset: of the tile's first column.
    """
    for row in range(rows):
        label = labels[row]
        for column in range(max(first[label] - offset, 0), min(first[label + 1] - offset, columns)):
            scores[row, column] = EXCLUDED


@compiled()
def gather_positives(
    scores: np.ndarray,
    rows: int,
    columns: int,
    labels: np.ndarray,
    first: np.ndarray,
    offset: int,
    row_groups: np.ndarray,
    column_groups: np.ndarray,
    positives: np.ndarray,
    cursor: np.ndarray,
) -> None:
    """Write each row's scores with images of its class, except of its group, to `positives`.

    Arguments as in `exclude_classes`. row_groups, column_groups: with a unique number for each image without
    a group. cursor: (>= rows,), the index in `positives` of each row's next score; advanced.
    """
    for row in range(rows):
        label = labels[row]
        group = row_groups[row]
        at = cursor[row]
        for column in range(max(first[label] - offset, 0), min(first[label + 1] - offset, columns)):
            if column_groups[column] != group:
                positives[at] = scores[row, column]
                at += 1
        cursor[row] = at


@compiled()
def find_reaching(
    scores: np.ndarray,
    rows: int,
    floor: np.float32,
    row_lowest: np.ndarray,
    column_lowest: np.ndarray,
    row_reaches: np.ndarray,
    column_best: np.ndarray,
) -> int:
    """Find the rows of a tile with a score that can be counted, and return the number of columns with one.

    scores: (side, side) float32, with a side that is a multiple of `CHUNK`. floor: the lowest score that is
    counted at thresholds and in histograms. row_lowest: (>= rows,), the lowest that is counted in each row's
    ranking. column_lowest: (columns,), the same of the columns. row_reaches: (>= rows,) bool, whether the row
    has a score from `floor` or `row_lowest`. column_best: (side,), the highest score of each column. Both are
    written, and include the columns that pad the tile.
    """
    column_best[:] = EXCLUDED
    best = np.empty(CHUNK, np.float32)
    for row in range(rows):
        line = scores[row]
        best[:] = EXCLUDED
        for begin in range(0, len(line), CHUNK):
            part = line[begin : begin + CHUNK]
            above = column_best[begin : begin + CHUNK]
            for at in range(CHUNK):
                best[at] = part[at] if part[at] > best[at] else best[at]
            for at in range(CHUNK):
                above[at] = part[at] if part[at] > above[at] else above[at]
        row_reaches[row] = best.max() >= min(floor, row_lowest[row])
    reaching = 0
    for column in range(len(column_lowest)):
        reaching += column_best[column] >= column_lowest[column]
    return reaching


@compiled()
def find_nearest(
    scores: np.ndarray,
    rows: int,
    floor: np.float32,
    row_lowest: np.ndarray,
    column_lowest: np.ndarray,
    row_reaches: np.ndarray,
    column_best: np.ndarray,
    columns: int,
    cutoff: np.float32,
    first_row: int,
    first_column: int,
    of_rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    of_columns: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """`find_reaching` that also finds the highest score of each row and of each column, and counts their
    scores from `cutoff`. Scores right of the tile's columns, which pad it, are set to `EXCLUDED`.

    first_row, first_column: places of the tile's first row and column. of_rows: best (>= rows,) float32 and
    place (>= rows,) int32, replaced where a score of the row is higher, by the score and the place of the
    first column with it; accepted (>= rows,) int32, increased. of_columns: the same of the columns; empty to
    leave them.
    """
    if columns < scores.shape[1]:
        scores[:rows, columns:] = EXCLUDED
    row_best, row_place, row_accepted = of_rows
    both = len(of_columns[0]) > 0
    column_best[:] = EXCLUDED
    nearest = np.zeros(len(column_best), np.int32)
    best = np.empty(CHUNK, np.float32)
    for row in range(rows):
        line = scores[row]
        number = np.int32(row)
        best[:] = EXCLUDED
        for begin in range(0, len(line), CHUNK):
            part = line[begin : begin + CHUNK]
            above = column_best[begin : begin + CHUNK]
            for at in range(CHUNK):
                best[at] = part[at] if part[at] > best[at] else best[at]
            if both:
                chosen = nearest[begin : begin + CHUNK]
                for at in range(CHUNK):
                    chosen[at] = number if part[at] > above[at] else chosen[at]
            for at in range(CHUNK):
                above[at] = part[at] if part[at] > above[at] else above[at]
        highest = best.max()
        row_reaches[row] = highest >= min(floor, row_lowest[row])
        if highest > row_best[row]:
            at = 0
            while line[at] != highest:
                at += 1
            row_best[row] = highest
            row_place[row] = first_column + at
        if highest >= cutoff:
            reaching = 0
            for column in range(len(line)):
                reaching += line[column] >= cutoff
            row_accepted[row] += reaching
            if both:
                accepted = of_columns[2]
                for column in range(len(line)):
                    accepted[column] += np.int32(line[column] >= cutoff)
    if both:
        for column in range(columns):
            if column_best[column] > of_columns[0][column]:
                of_columns[0][column] = column_best[column]
                of_columns[1][column] = first_row + nearest[column]
    reaching = 0
    for column in range(len(column_lowest)):
        reaching += column_best[column] >= column_lowest[column]
    return reaching


@compiled()
def collect_scores(
    scores: np.ndarray,
    rows: int,
    columns: int,
    upper: bool,
    floor: np.float32,
    reaches: np.ndarray,
    kept: np.ndarray,
    at: int,
) -> int:
    """Append the scores of a tile that are at least `floor` to `kept` and return the new number of kept
    scores.

    scores: (>= rows, >= columns) float32. upper: whether to use only scores right of the diagonal. reaches:
    (>= rows,) bool, false for rows to skip. kept: float32 with `at` scores and room for rows * columns more.
    """
    for row in range(rows):
        if not reaches[row]:
            continue
        line = scores[row]
        for begin in range(row + 1 if upper else 0, columns, CHUNK):
            end = min(begin + CHUNK, columns)
            reaching = 0
            for column in range(begin, end):
                reaching += line[column] >= floor
            if reaching > 0:
                # Write every score but advance only past those kept: a branch would be mispredicted.
                for column in range(begin, end):
                    kept[at] = line[column]
                    at += line[column] >= floor
    return at


@compiled()
def count_histograms(
    scores: np.ndarray,
    rows: int,
    columns: int,
    upper: bool,
    floor: np.float32,
    reaches: np.ndarray,
    scale: np.float32,
    row_class: np.ndarray,
    column_class: np.ndarray,
    row_histograms: np.ndarray,
    column_histograms: np.ndarray,
) -> None:
    """Count the scores of a tile that are at least `floor` in histograms with bins of equal width, by class.

    Arguments as in `collect_scores`. scale: bins per unit of score. row_class: (>= rows,), column_class: (>=
    columns,). row_histograms, column_histograms: (classes, bins) int32; each score counts for the class of
    its row and for the class of its column.
    """
    last = row_histograms.shape[1] - 1
    for row in range(rows):
        if not reaches[row]:
            continue
        line = scores[row]
        own = row_histograms[row_class[row]]
        for begin in range(row + 1 if upper else 0, columns, CHUNK):
            end = min(begin + CHUNK, columns)
            reaching = 0
            for column in range(begin, end):
                reaching += line[column] >= floor
            if reaching > 0:
                for column in range(begin, end):
                    if line[column] >= floor:
                        slot = min(last, np.int32((line[column] - floor) * scale))
                        own[slot] += 1
                        column_histograms[column_class[column], slot] += 1


@compiled()
def count_at_edges(kept: np.ndarray, edges: np.ndarray, above: np.ndarray, ties: np.ndarray) -> None:
    """Add the number of kept scores at or above each edge to `above`, and of those equal to it to `ties`.

    kept: (n,) ascending. edges: (E,) ascending, distinct. above, ties: (E,) int64.
    """
    count = len(kept)
    at = 0
    for edge in range(len(edges)):
        threshold = edges[edge]
        while at < count and kept[at] < threshold:
            at += 1
        above[edge] += count - at
        first = at
        while at < count and kept[at] == threshold:
            at += 1
        ties[edge] += at - first


@compiled()
def count_between(
    scores: np.ndarray,
    rows: int,
    columns: int,
    reaches: np.ndarray,
    positives: np.ndarray,
    offsets: np.ndarray,
    between: np.ndarray,
) -> None:
    """Count each row's scores between its positives, by comparing each positive with all scores of the row.

    reaches: as in `collect_scores`. positives: (P,) each row's positives ascending, from offsets[row] to
    offsets[row + 1], less offsets[0]. between: (P,) int32; [k] is increased by the number of scores at or
    above positive k and below the next one.
    """
    for row in range(rows):
        if not reaches[row]:
            continue
        first = offsets[row] - offsets[0]
        end = offsets[row + 1] - offsets[0]
        line = scores[row]
        above = 0
        for k in range(first, end):
            threshold = positives[k]
            reaching = 0
            for column in range(columns):
                reaching += line[column] >= threshold
            if k > first:
                between[k - 1] += above - reaching
            above = reaching
            if above == 0:
                break
        if above > 0:
            between[end - 1] += above


@compiled()
def count_between_sorted(
    scores: np.ndarray,
    rows: int,
    columns: int,
    reaches: np.ndarray,
    positives: np.ndarray,
    offsets: np.ndarray,
    between: np.ndarray,
) -> None:
    """`count_between` for rows with ascending scores, by merging scores and positives."""
    for row in range(rows):
        if not reaches[row]:
            continue
        first = offsets[row] - offsets[0]
        k = offsets[row + 1] - offsets[0] - 1
        line = scores[row]
        column = columns - 1
        if k < first or line[column] < positives[first]:
            continue
        while k >= first and column >= 0:
            if line[column] >= positives[k]:
                between[k] += 1
                column -= 1
            else:
                k -= 1


@compiled()
def sort_segments(values: np.ndarray, offsets: np.ndarray) -> None:
    """Sort each segment values[offsets[i] : offsets[i + 1]] in place, ascending."""
    for index in range(len(offsets) - 1):
        begin = offsets[index]
        end = offsets[index + 1]
        if end - begin <= 32:
            for at in range(begin + 1, end):
                value = values[at]
                to = at
                while to > begin and values[to - 1] > value:
                    values[to] = values[to - 1]
                    to -= 1
                values[to] = value
        else:
            values[begin:end] = np.sort(values[begin:end])


@compiled()
def transpose(source: np.ndarray, target: np.ndarray) -> None:
    """target = source.T for square arrays whose side is a multiple of 16, in blocks that fit in the cache."""
    side = source.shape[0]
    for top in range(0, side, 16):
        for left in range(0, side, 16):
            for row in range(top, top + 16):
                for column in range(left, left + 16):
                    target[column, row] = source[row, column]


@compiled()
def count_positive_histograms(
    positives: np.ndarray,
    offsets: np.ndarray,
    labels: np.ndarray,
    floor: np.float32,
    scale: np.float32,
    histograms: np.ndarray,
) -> None:
    """Count positives in histograms by the class of their row, with the same bins as `count_histograms`.

    positives, offsets: as in `count_between`. labels: (rows,). histograms: (classes, bins) float64.
    """
    last = histograms.shape[1] - 1
    for row in range(len(labels)):
        own = histograms[labels[row]]
        for at in range(offsets[row] - offsets[0], offsets[row + 1] - offsets[0]):
            if positives[at] >= floor:
                own[min(last, np.int32((positives[at] - floor) * scale))] += 1


@compiled()
def ranks_from_counts(between: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Ranks of each row's positives, best first, from the counts of `count_between`; (P,) int64.

    The rank of a positive is its position among the row's positives plus the number of negatives at or above
    it, so of equal scores the negative ranks first.
    """
    ranks = np.empty(len(between), np.int64)
    for row in range(len(offsets) - 1):
        first = offsets[row] - offsets[0]
        end = offsets[row + 1] - offsets[0]
        above = 0
        for place in range(end - first):
            above += between[end - 1 - place]
            ranks[first + place] = place + 1 + above
    return ranks

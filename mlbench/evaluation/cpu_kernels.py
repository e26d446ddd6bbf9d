"""Counting on the CPU: the scores of a tile among all thresholds, by class, and in every query's ranking.

Compiled by Numba; every function works on one tile of scores and releases the interpreter lock, so that
threads count tiles. All counts are integers: their sum does not depend on who counted first.
"""

from __future__ import annotations

import numpy as np

from mlbench.compiled import compiled

__all__ = [
    "EXCLUDED",
    "band_positives",
    "collect",
    "count_above",
    "count_above_sorted",
    "count_bands",
    "exclude_classes",
    "gather_positives",
    "merge",
    "ranks_of",
    "scale_scores",
    "sort_segments",
    "transpose",
    "unit_rows",
]

#: The score of a pair that takes no part: below every cosine.
EXCLUDED = np.float32(-2.0)

#: Scores that are looked at together before any of them is looked up.
CHUNK = 64


@compiled()
def unit_rows(vectors: np.ndarray, images: np.ndarray, norms: np.ndarray, rows: np.ndarray) -> None:
    """rows[i] = vectors[images[i]] / norms[i] in float32, rounded once; the rows that are left are zero.

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
    """scores[i, j] *= rows[i] * columns[j], all float32; the same for both orders of a pair."""
    for row in range(len(rows)):
        line = scores[row]
        own = rows[row]
        for column in range(len(columns)):
            line[column] *= own * columns[column]


@compiled()
def exclude_classes(
    scores: np.ndarray, rows: int, columns: int, labels: np.ndarray, first: np.ndarray, offset: int
) -> None:
    """Set the scores of same-class pairs in a tile to `EXCLUDED`.

    scores: (>= rows, >= columns) float32. labels: (>= rows,) of the rows. first: (C + 1,), where each class
    starts among all columns, which are ordered by class. offset: of the tile's first column among them.
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
    """Append each row's scores with its own class, but not with its own group, to its place in `positives`.

    As `exclude_classes`; groups: of each row and column, with a number of its own for an image that is in
    none. cursor: (>= rows,) where each row's next score goes; advanced.
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
def collect(
    scores: np.ndarray, rows: int, columns: int, upper: bool, floor: np.float32, kept: np.ndarray, at: int
) -> int:
    """Append the scores of a tile that are at least `floor` to `kept`; how many it holds then.

    scores: (>= rows, >= columns) float32. upper: only what lies right of the diagonal. kept: float32 with
    room for rows * columns more than the `at` it holds.
    """
    for row in range(rows):
        line = scores[row]
        for begin in range(row + 1 if upper else 0, columns, CHUNK):
            end = min(begin + CHUNK, columns)
            reaching = 0
            for column in range(begin, end):
                reaching += line[column] >= floor
            if reaching > 0:
                # Written always, kept when it counts: no branch that could be mispredicted.
                for column in range(begin, end):
                    kept[at] = line[column]
                    at += line[column] >= floor
    return at


@compiled()
def count_bands(
    scores: np.ndarray,
    rows: int,
    columns: int,
    upper: bool,
    floor: np.float32,
    scale: np.float32,
    row_class: np.ndarray,
    column_class: np.ndarray,
    row_bands: np.ndarray,
    column_bands: np.ndarray,
) -> None:
    """Count the scores of a tile that are at least `floor` in bands of equal width, by class.

    As `collect`; scale: bands per unit of score. row_class: (>= rows,), column_class: (>= columns,).
    row_bands, column_bands: (classes, bands) int32: each score counts for the class of its row and for the
    class of its column.
    """
    last = row_bands.shape[1] - 1
    for row in range(rows):
        line = scores[row]
        own = row_bands[row_class[row]]
        for begin in range(row + 1 if upper else 0, columns, CHUNK):
            end = min(begin + CHUNK, columns)
            reaching = 0
            for column in range(begin, end):
                reaching += line[column] >= floor
            if reaching > 0:
                for column in range(begin, end):
                    if line[column] >= floor:
                        band = min(last, np.int32((line[column] - floor) * scale))
                        own[band] += 1
                        column_bands[column_class[column], band] += 1


@compiled()
def merge(kept: np.ndarray, edges: np.ndarray, above: np.ndarray, ties: np.ndarray) -> None:
    """Add to each edge the number of kept scores at or above it, and equal to it.

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
def count_above(
    scores: np.ndarray,
    rows: int,
    columns: int,
    positives: np.ndarray,
    offsets: np.ndarray,
    rivals: np.ndarray,
) -> None:
    """For each row, count its scores between its positives: by comparing each positive with all scores.

    positives: each row's scores with its own class, ascending, at offsets[row] .. offsets[row + 1], less
    offsets[0]. rivals: as long, int32: [k] counts scores at or above positive k and below the next one.
    """
    for row in range(rows):
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
                rivals[k - 1] += above - reaching
            above = reaching
            if above == 0:
                break
        if above > 0:
            rivals[end - 1] += above


@compiled()
def count_above_sorted(
    scores: np.ndarray,
    rows: int,
    columns: int,
    positives: np.ndarray,
    offsets: np.ndarray,
    rivals: np.ndarray,
) -> None:
    """`count_above` for rows whose scores are ascending: by walking down both lists together."""
    for row in range(rows):
        first = offsets[row] - offsets[0]
        k = offsets[row + 1] - offsets[0] - 1
        line = scores[row]
        column = columns - 1
        if k < first or line[column] < positives[first]:
            continue
        while k >= first and column >= 0:
            if line[column] >= positives[k]:
                rivals[k] += 1
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
    """target = source.T for square arrays whose side is a multiple of 16, by blocks that stay in cache."""
    side = source.shape[0]
    for top in range(0, side, 16):
        for left in range(0, side, 16):
            for row in range(top, top + 16):
                for column in range(left, left + 16):
                    target[column, row] = source[row, column]


@compiled()
def band_positives(
    positives: np.ndarray,
    offsets: np.ndarray,
    labels: np.ndarray,
    floor: np.float32,
    scale: np.float32,
    bands: np.ndarray,
) -> None:
    """Count positives in bands by the class of their row, exactly as `count_bands` counts negatives.

    positives, offsets: as in `count_above`. labels: (rows,). bands: (classes, bands) float64.
    """
    last = bands.shape[1] - 1
    for row in range(len(labels)):
        own = bands[labels[row]]
        for at in range(offsets[row] - offsets[0], offsets[row + 1] - offsets[0]):
            if positives[at] >= floor:
                own[min(last, np.int32((positives[at] - floor) * scale))] += 1


@compiled()
def ranks_of(rivals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Ranks of each row's positives, the best first, from the counts that `count_above` made.

    A positive's rank is its place among the row's positives plus all negatives at or above it: of equal
    scores the negative comes first.
    """
    ranks = np.empty(len(rivals), np.int64)
    for row in range(len(offsets) - 1):
        first = offsets[row] - offsets[0]
        end = offsets[row + 1] - offsets[0]
        above = 0
        for place in range(end - first):
            above += rivals[end - 1 - place]
            ranks[first + place] = place + 1 + above
    return ranks

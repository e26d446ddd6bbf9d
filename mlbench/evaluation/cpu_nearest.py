"""The nearest negatives of queries, found in tiles of scores on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlbench.evaluation import cpu_kernels
from mlbench.evaluation.query_negatives import QueryNegatives, lowest_accepted

__all__ = ["BlockNearest"]


class _Best:
    """The best of `count` images of a block so far: (count,) each."""

    def __init__(self, count: int) -> None:
        self.similarity = np.full(count, cpu_kernels.EXCLUDED, np.float32)
        self.place = np.full(count, -1, np.int32)
        self.accepted = np.zeros(count, np.int32)

    def part(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = slice(start, start + count)
        return self.similarity[part], self.place[part], self.accepted[part]


class BlockNearest:
    """What the queries [top, bottom) find among the gallery images [left, right) and, if mirrored, the other
    way around. tile: side of a tile."""

    def __init__(
        self, found: QueryNegatives, rows: tuple[int, int], columns: tuple[int, int], tile: int
    ) -> None:
        self._found, self._top, self._left, self._tile = found, rows[0], columns[0], tile
        self._counts = rows[1] - rows[0], columns[1] - columns[0]
        self._cutoff = lowest_accepted(found.threshold)
        self._rows, self._columns = (_Best(-(-count // tile) * tile) for count in self._counts)

    def find_reaching(self, reach: tuple[Any, ...], first: tuple[int, int], width: int, *, both: bool) -> int:
        """`cpu_kernels.find_reaching` with these arguments, in a tile that is also searched.

        first: the tile's first row and column. width: number of its columns. both: whether they are queries,
        too.
        """
        row, column = first
        of_columns = self._columns.part(column - self._left, self._tile if both else 0)
        of_rows = self._rows.part(row - self._top, self._tile)
        found: int = cpu_kernels.find_nearest(*reach, width, self._cutoff, row, column, of_rows, of_columns)
        return found

    def add(self, *, both: bool) -> None:
        """Add what was found to the whole."""
        rows, columns = self._counts
        self._found.add(self._top, *self._rows.part(0, rows))
        if both:
            self._found.add(self._left, *self._columns.part(0, columns))

"""Scoring and counting of pairs on the CPU, in tiles, by threads with separate buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from mlbench.evaluation import cpu_kernels
from mlbench.evaluation.all_pairs import AllPairs, OrderedImages, PositiveBlock
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.cpu_nearest import BlockNearest
from mlbench.evaluation.pair_counter import PairCounts, Progress
from mlbench.evaluation.products import Products, round_for_products
from mlbench.evaluation.query_negatives import QueryNegatives
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.seeding import matmul_precision

__all__ = ["TILE", "CpuCounter"]

#: Side of a tile of scores; its 1 MiB fits in a core's cache.
TILE = 512

#: Side of a block: rows and columns whose unit vectors are read together, several tiles.
_BLOCK = 4 * TILE

#: Scores that a thread collects before it sorts and counts them.
_KEPT = 1 << 21

#: With more positives a query, its scores are sorted; with fewer, comparing each positive with all scores is
#: faster.
_MANY = 40

T = TypeVar("T")


class _Rows(NamedTuple):
    """Unit vectors, (n, D) float32. scales: (n,) float32, the inverse of their norms, if rounding below
    float32 has changed the norms; else None."""

    vectors: np.ndarray
    scales: np.ndarray | None

    def tile(self, start: int) -> _Rows:
        """The tile that starts at this row."""
        end = start + TILE
        return _Rows(self.vectors[start:end], None if self.scales is None else self.scales[start:end])


class CpuCounter:
    """A `PairCounter` with `threads` threads. memory: bytes for their buffers; if short, it uses fewer
    threads."""

    def __init__(
        self, pairs: AllPairs, *, threads: int, products: Products = "float32", memory: int = 1 << 28
    ) -> None:
        self._pairs = pairs
        self._products: Products = products
        dim = int(pairs.queries.vectors.shape[1])
        each = 4 * (_KEPT + 2 * TILE * TILE + 3 * _BLOCK * dim)
        self._threads = max(1, min(threads, memory // each))
        self._lock = threading.Lock()

    @property
    def tile(self) -> int:
        return TILE

    def scores(self, start: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
        pairs = self._pairs
        columns, tile = np.empty((2, TILE, int(pairs.queries.vectors.shape[1])), np.float32)
        scores = np.empty((TILE, TILE), np.float32)
        rows = self._read(pairs.queries, start, end, tile)
        for left in range(0, len(pairs.gallery), TILE):
            right = min(left + TILE, len(pairs.gallery))
            with _single_threaded():
                _multiply(rows, self._read(pairs.gallery, left, right, columns), scores)
            yield left, scores[: end - start, : right - left]

    def positives(self, start: int, end: int) -> np.ndarray:
        pairs = self._pairs
        base = pairs.offsets[start]
        scores = np.empty(pairs.offsets[end] - base, np.float32)
        cursor = pairs.offsets[start:end] - base

        def gather(block: PositiveBlock, buffers: _Buffers) -> None:
            top, bottom = block.top, block.bottom
            rows = self._read(pairs.queries, top, bottom, buffers.rows)
            for left, right in block.columns:
                columns = self._read(pairs.gallery, left, right, buffers.columns)
                _multiply(rows, columns, buffers.scores)
                cpu_kernels.gather_positives(
                    buffers.scores,
                    bottom - top,
                    right - left,
                    pairs.queries.labels[top:bottom],
                    pairs.gallery.first,
                    left,
                    pairs.queries.groups[top:bottom],
                    pairs.gallery.groups[left:right],
                    scores,
                    cursor[top - start : bottom - start],
                )

        self._each(list(pairs.positive_blocks(start, end, TILE)), gather, TILE, lambda done, total: None)
        cpu_kernels.sort_segments(scores, pairs.offsets[start : end + 1] - base)
        return scores

    def negatives(
        self,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        histograms: ClassHistograms | None,
        progress: Progress,
        nearest: QueryNegatives | None = None,
    ) -> PairCounts:
        pairs = self._pairs
        above, ties = np.zeros((2, len(edges)), np.int64)
        counts = PairCounts(above, ties, np.zeros(len(positives), np.int32))
        negatives = _NegativePass(pairs, start, positives, edges, histograms, nearest, counts, self._lock)
        whole = pairs.mirrored and (start, end) == (0, len(pairs.queries))

        def count(block: tuple[int, int], buffers: _Buffers) -> None:
            top, left = block
            bottom, right = min(top + _BLOCK, end), min(left + _BLOCK, len(pairs.gallery))
            rows = self._read(pairs.queries, top, bottom, buffers.rows)
            columns = self._read(pairs.gallery, left, right, buffers.columns)
            negatives.count_block(rows, columns, (top, bottom), (left, right), whole, buffers)

        blocks = [
            (top, left)
            for top in range(start, end, _BLOCK)
            for left in range(top if whole else 0, len(pairs.gallery), _BLOCK)
        ]
        for buffers in self._each(blocks, count, _BLOCK, progress):
            negatives.flush(buffers)
        if whole:
            for both in (counts.above, counts.ties):
                both *= 2
        return counts

    def _read(self, ordered: OrderedImages, start: int, end: int, buffer: np.ndarray) -> _Rows:
        """Unit vectors of images [start, end), padded with zeros to whole tiles."""
        rows = buffer[: -(-(end - start) // TILE) * TILE]
        images, vectors = ordered.images[start:end], ordered.vectors
        if vectors.dtype not in (np.float32, np.float64):
            images, vectors = np.arange(end - start), vectors[images].astype(np.float32)
        cpu_kernels.unit_rows(vectors, images, ordered.norms[start:end], rows)
        if self._products == "float32":
            return _Rows(rows, None)
        rows[:] = round_for_products(rows, self._products)
        squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
        return _Rows(rows, (1 / np.sqrt(np.where(squares > 0, squares, 1))).astype(np.float32))

    def _each(
        self, tasks: Sequence[T], work: Callable[[T, _Buffers], None], height: int, progress: Progress
    ) -> Iterator[_Buffers]:
        """Do all tasks on the threads and return the buffers of each thread."""
        waiting = iter(tasks)
        stop = threading.Event()
        done = 0

        def run(report: bool) -> _Buffers:
            nonlocal done
            buffers = _Buffers(height, int(self._pairs.queries.vectors.shape[1]))
            while not stop.is_set():
                with self._lock:
                    task = next(waiting, None)
                if task is None:
                    break
                work(task, buffers)
                with self._lock:
                    done += 1
                if report:
                    progress(done, len(tasks))
            return buffers

        with _single_threaded(), ThreadPoolExecutor(max(1, self._threads - 1)) as pool:
            try:
                others = [pool.submit(run, False) for _ in range(min(self._threads, len(tasks)) - 1)]
                mine = run(True)
                return iter([mine, *(other.result() for other in others)])
            finally:
                stop.set()


def _multiply(rows: _Rows, columns: _Rows, scores: np.ndarray) -> None:
    """scores = cosines of rows and columns, by torch: unlike NumPy's product, the bits of an element do not
    depend on its position in the tile, so that equal pairs tie."""
    torch.mm(
        torch.from_numpy(rows.vectors), torch.from_numpy(columns.vectors).T, out=torch.from_numpy(scores)
    )
    if rows.scales is not None and columns.scales is not None:
        cpu_kernels.scale_scores(scores, rows.scales, columns.scales)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Run products in full float32 on one torch thread: torch's threads would compete with ours, and how they
    split a product can change its bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with matmul_precision("highest"):
            yield
    finally:
        torch.set_num_threads(before)


class _Buffers:
    """The buffers of one thread."""

    def __init__(self, height: int, dim: int) -> None:
        self.rows = np.empty((height, dim), np.float32)
        self.columns = np.empty((height, dim), np.float32)
        self.scores = np.empty((TILE, TILE), np.float32)
        self.transposed = np.empty((TILE, TILE), np.float32)
        self.row_reaches = np.empty(TILE, np.bool_)
        self.column_best = np.empty(TILE, np.float32)
        self.kept = np.empty(_KEPT, np.float32)
        self.held = 0


class _NegativePass:
    """One pass over the negatives, with the counts of all threads."""

    def __init__(
        self,
        pairs: AllPairs,
        start: int,
        positives: np.ndarray,
        edges: np.ndarray,
        histograms: ClassHistograms | None,
        nearest: QueryNegatives | None,
        counts: PairCounts,
        lock: threading.Lock,
    ) -> None:
        self.pairs, self.positives, self.edges, self.histograms = pairs, positives, edges, histograms
        self.nearest, self.counts, self.lock = nearest, counts, lock
        self.base = pairs.offsets[start]
        # Lower scores round to less than the lowest threshold.
        self.floor = np.float32(edges[0] - STEP)
        self.lowest = self.floor if histograms is None else min(self.floor, np.float32(histograms.floor))

    def count_block(
        self,
        rows: _Rows,
        columns: _Rows,
        row_range: tuple[int, int],
        column_range: tuple[int, int],
        mirrored: bool,
        buffers: _Buffers,
    ) -> None:
        (top, bottom), (left, right) = row_range, column_range
        queries, gallery = self.pairs.queries, self.pairs.gallery
        by_query = _BlockRankings(self, top, bottom)
        # If mirrored, the columns are queries too.
        transposed = _BlockRankings(self, left, right) if mirrored and left != top else by_query
        column_histograms = self._block_histograms(gallery, left, right)
        row_histograms = self._block_histograms(queries, top, bottom)
        nearest = None
        if self.nearest is not None:
            nearest = BlockNearest(self.nearest, row_range, column_range, TILE)
        for row in range(top, bottom, TILE):
            for column in range(row if mirrored and left == top else left, right, TILE):
                height, width = min(TILE, bottom - row), min(TILE, right - column)
                scores = buffers.scores
                _multiply(rows.tile(row - top), columns.tile(column - left), scores)
                labels = queries.labels[row : row + height]
                if labels[-1] >= gallery.labels[column] and labels[0] <= gallery.labels[column + width - 1]:
                    cpu_kernels.exclude_classes(scores, height, width, labels, gallery.first, column)
                diagonal = mirrored and row == column
                if buffers.held + height * width > _KEPT:
                    self.flush(buffers)
                reaches = buffers.row_reaches
                column_lowest = transposed.lowest(column, width if mirrored else 0)
                lowest = self.lowest, by_query.lowest(row, height), column_lowest
                reach = scores, height, *lowest, reaches, buffers.column_best
                if nearest is None:
                    reaching = cpu_kernels.find_reaching(*reach)
                else:
                    both = mirrored and not diagonal
                    reaching = nearest.find_reaching(reach, (row, column), width, both=both)
                args = scores, height, width, diagonal
                buffers.held = cpu_kernels.collect_scores(
                    *args, self.floor, reaches, buffers.kept, buffers.held
                )
                if self.histograms is not None:
                    scale = np.float32(1 / self.histograms.width)
                    row_class = labels - queries.labels[top]
                    column_class = gallery.labels[column : column + width] - gallery.labels[left]
                    cpu_kernels.count_histograms(
                        *args,
                        np.float32(self.histograms.floor),
                        reaches,
                        scale,
                        row_class,
                        column_class,
                        row_histograms,
                        column_histograms,
                    )
                if mirrored and not diagonal and reaching:
                    cpu_kernels.transpose(scores, buffers.transposed)
                    column_reaches = buffers.column_best[:width] >= column_lowest
                    transposed.count(buffers.transposed, width, height, column, column_reaches)
                by_query.count(scores, height, width, row, reaches)
        with self.lock:
            by_query.add()
            if transposed is not by_query:
                transposed.add()
            if nearest is not None:
                nearest.add(both=mirrored)
            if self.histograms is not None:
                times = 2 if mirrored else 1
                for ordered, first, counted in (
                    (queries, top, row_histograms),
                    (gallery, left, column_histograms),
                ):
                    label = ordered.labels[first]
                    self.histograms.negatives[label : label + len(counted)] += times * counted

    def _block_histograms(self, ordered: OrderedImages, start: int, end: int) -> np.ndarray:
        """Empty histograms of the classes of images [start, end)."""
        if self.histograms is None:
            return np.empty((0, 0), np.int32)
        classes = ordered.labels[end - 1] - ordered.labels[start] + 1
        return np.zeros((classes, self.histograms.negatives.shape[1]), np.int32)

    def flush(self, buffers: _Buffers) -> None:
        """Count the scores that a thread has collected."""
        kept = buffers.kept[: buffers.held]
        on_grid(kept, out=kept).sort()
        with self.lock:
            cpu_kernels.count_at_edges(kept, self.edges, self.counts.above, self.counts.ties)
        buffers.held = 0


class _BlockRankings:
    """Counts of negatives in the rankings of queries [start, end) within one block."""

    def __init__(self, negatives: _NegativePass, start: int, end: int) -> None:
        offsets = negatives.pairs.offsets[start : end + 1] - negatives.base
        self.start, self.offsets = start, offsets
        self.positives = negatives.positives[offsets[0] : offsets[-1]]
        self.total = negatives.counts.between[offsets[0] : offsets[-1]]
        self.between = np.zeros_like(self.total)
        counts = np.diff(offsets)
        self.most = int(counts.max())
        self.first = np.full(len(counts), np.inf, np.float32)
        self.first[counts > 0] = self.positives[offsets[:-1][counts > 0] - offsets[0]]

    def lowest(self, row: int, height: int) -> np.ndarray:
        """The first positive of each query of a tile, (height,), infinity for none."""
        return self.first[row - self.start :][:height]

    def count(self, scores: np.ndarray, height: int, width: int, row: int, reaches: np.ndarray) -> None:
        """Count a tile of scores whose first row is query `row`, in the rows that reach a positive; may
        reorder the scores."""
        offsets = self.offsets[row - self.start : row - self.start + height + 1]
        first, end = offsets[0] - self.offsets[0], offsets[-1] - self.offsets[0]
        count = cpu_kernels.count_between
        if self.most > _MANY and reaches[:height].any():
            scores[:, width:] = cpu_kernels.EXCLUDED
            scores.sort(axis=1)
            width = TILE
            count = cpu_kernels.count_between_sorted
        count(scores, height, width, reaches, self.positives[first:end], offsets, self.between[first:end])

    def add(self) -> None:
        """Add the counts of the block to the totals."""
        self.total += self.between

"""Counting on the CPU: tiles are scored and counted by threads, each with its own buffers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from mlbench.evaluation import cpu_kernels
from mlbench.evaluation.all_pairs import Pairs, Side, Window
from mlbench.evaluation.pair_scan import Bands, Counts, Products, Progress
from mlbench.evaluation.similarity_grid import STEP, on_grid
from mlbench.seeding import matmul_precision

__all__ = ["TILE", "CpuCounter", "rounded"]

#: Side of a tile of scores: 1 MiB, which stays in a core's cache.
TILE = 512

#: Rows and columns that are gathered together, several tiles.
_BLOCK = 4 * TILE

#: Scores that are kept before they are sorted and counted.
_KEPT = 1 << 21

#: Queries with more positives have their scores sorted; with fewer, comparing each with all is faster.
_MANY = 40

#: Bits that a rounded float32 loses.
_DROPPED = {"float32": 0, "tf32": 13, "bf16": 16}

T = TypeVar("T")


def rounded(values: np.ndarray, products: Products) -> np.ndarray:
    """float32 values rounded to the precision of `products`, to nearest, halves to even; still float32."""
    drop = _DROPPED[products]
    if drop == 0:
        return values
    bits = values.view(np.uint32)
    bits = bits + ((bits >> drop) & 1) + np.uint32((1 << (drop - 1)) - 1)
    return (bits & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


class _Rows(NamedTuple):
    """Unit vectors, (n, D) float32. scales: (n,) float32, one over their lengths, which are not quite 1 where
    they were rounded to less than float32; else None."""

    vectors: np.ndarray
    scales: np.ndarray | None

    def tile(self, start: int) -> _Rows:
        """The tile that starts at this row."""
        end = start + TILE
        return _Rows(self.vectors[start:end], None if self.scales is None else self.scales[start:end])


class CpuCounter:
    """Counts the pairs on `threads` threads (see `mlbench.evaluation.pair_scan.Counter`).

    memory: bytes for the threads' buffers; there are fewer threads where it is short.
    """

    def __init__(
        self, pairs: Pairs, *, threads: int, products: Products = "float32", memory: int = 1 << 28
    ) -> None:
        self._pairs = pairs
        self._products: Products = products
        dim = int(pairs.queries.vectors.shape[1])
        each = 4 * (_KEPT + 2 * TILE * TILE + 3 * _BLOCK * dim)
        self._threads = max(1, min(threads, memory // each))
        self._lock = threading.Lock()

    def positives(self, start: int, end: int) -> np.ndarray:
        pairs = self._pairs
        base = pairs.offsets[start]
        found = np.empty(pairs.offsets[end] - base, np.float32)
        cursor = pairs.offsets[start:end] - base

        def gather(window: Window, buffers: _Buffers) -> None:
            top, bottom = window.top, window.bottom
            rows = self._read(pairs.queries, top, bottom, buffers.rows)
            for left, right in window.columns:
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
                    found,
                    cursor[top - start : bottom - start],
                )

        self._each(list(pairs.windows(start, end, TILE)), gather, TILE, lambda done, total: None)
        cpu_kernels.sort_segments(found, pairs.offsets[start : end + 1] - base)
        return found

    def negatives(
        self,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        bands: Bands | None,
        progress: Progress,
    ) -> Counts:
        pairs = self._pairs
        above, ties = np.zeros((2, len(edges)), np.int64)
        counts = Counts(above, ties, np.zeros(len(positives), np.int32))
        job = _Job(pairs, start, positives, edges, bands, counts, self._lock)
        whole = pairs.mirrored and (start, end) == (0, len(pairs.queries))

        def count(block: tuple[int, int], buffers: _Buffers) -> None:
            top, left = block
            bottom, right = min(top + _BLOCK, end), min(left + _BLOCK, len(pairs.gallery))
            rows = self._read(pairs.queries, top, bottom, buffers.rows)
            columns = self._read(pairs.gallery, left, right, buffers.columns)
            job.count_block(rows, columns, (top, bottom), (left, right), whole, buffers)

        blocks = [
            (top, left)
            for top in range(start, end, _BLOCK)
            for left in range(top if whole else 0, len(pairs.gallery), _BLOCK)
        ]
        for buffers in self._each(blocks, count, _BLOCK, progress):
            job.flush(buffers)
        if whole:
            for both in (counts.above, counts.ties):
                both *= 2
        return counts

    def _read(self, side: Side, start: int, end: int, buffer: np.ndarray) -> _Rows:
        """Unit vectors of a range of a side, filled up with zeros to whole tiles."""
        rows = buffer[: -(-(end - start) // TILE) * TILE]
        images, vectors = side.images[start:end], side.vectors
        if vectors.dtype not in (np.float32, np.float64):
            images, vectors = np.arange(end - start), vectors[images].astype(np.float32)
        cpu_kernels.unit_rows(vectors, images, side.norms[start:end], rows)
        if self._products == "float32":
            return _Rows(rows, None)
        rows[:] = rounded(rows, self._products)
        squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
        return _Rows(rows, (1 / np.sqrt(np.where(squares > 0, squares, 1))).astype(np.float32))

    def _each(
        self, tasks: Sequence[T], work: Callable[[T, _Buffers], None], height: int, progress: Progress
    ) -> Iterator[_Buffers]:
        """Do every task on the threads; then the buffers of each thread."""
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
    """scores = cosines of rows and columns, by torch: unlike NumPy's, its product of two rows has the same
    bits wherever they stand in their tiles, so that equal pairs tie."""
    torch.mm(
        torch.from_numpy(rows.vectors), torch.from_numpy(columns.vectors).T, out=torch.from_numpy(scores)
    )
    if rows.scales is not None and columns.scales is not None:
        cpu_kernels.scale_scores(scores, rows.scales, columns.scales)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Products in full float32 and each on one thread: torch's own threads would compete with ours, and how
    they share a product can change its bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with matmul_precision("highest"):
            yield
    finally:
        torch.set_num_threads(before)


class _Buffers:
    """What one thread writes to."""

    def __init__(self, height: int, dim: int) -> None:
        self.rows = np.empty((height, dim), np.float32)
        self.columns = np.empty((height, dim), np.float32)
        self.scores = np.empty((TILE, TILE), np.float32)
        self.turned = np.empty((TILE, TILE), np.float32)
        self.kept = np.empty(_KEPT, np.float32)
        self.held = 0


class _Job:
    """One pass over negatives: what is counted, and where counts go."""

    def __init__(
        self,
        pairs: Pairs,
        start: int,
        positives: np.ndarray,
        edges: np.ndarray,
        bands: Bands | None,
        counts: Counts,
        lock: threading.Lock,
    ) -> None:
        self.pairs, self.positives, self.edges, self.bands = pairs, positives, edges, bands
        self.counts, self.lock = counts, lock
        self.base = pairs.offsets[start]
        # Nothing that would be rounded to less than the lowest threshold is looked at.
        self.floor = np.float32(edges[0] - STEP)

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
        asked = _Part(self, top, bottom, queries)
        found = _Part(self, left, right, gallery) if mirrored and left != top else None
        by_column = self._class_bands(gallery, left, right)
        by_row = self._class_bands(queries, top, bottom)
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
                args = scores, height, width, diagonal, self.floor
                buffers.held = cpu_kernels.collect(*args, buffers.kept, buffers.held)
                if self.bands is not None:
                    scale = np.float32(1 / self.bands.width)
                    row_class = labels - queries.labels[top]
                    column_class = gallery.labels[column : column + width] - gallery.labels[left]
                    cpu_kernels.count_bands(
                        *args[:4],
                        np.float32(self.bands.floor),
                        scale,
                        row_class,
                        column_class,
                        by_row,
                        by_column,
                    )
                if mirrored and not diagonal:
                    cpu_kernels.transpose(scores, buffers.turned)
                    (found or asked).count(buffers.turned, width, height, column)
                asked.count(scores, height, width, row)
        with self.lock:
            asked.add()
            if found is not None:
                found.add()
            if self.bands is not None:
                times = 2 if mirrored else 1
                for side, first, counted in ((queries, top, by_row), (gallery, left, by_column)):
                    label = side.labels[first]
                    self.bands.negatives[label : label + len(counted)] += times * counted

    def _class_bands(self, side: Side, start: int, end: int) -> np.ndarray:
        if self.bands is None:
            return np.empty((0, 0), np.int32)
        return np.zeros(
            (side.labels[end - 1] - side.labels[start] + 1, self.bands.negatives.shape[1]), np.int32
        )

    def flush(self, buffers: _Buffers) -> None:
        """Count what a thread has kept."""
        kept = buffers.kept[: buffers.held]
        on_grid(kept, out=kept).sort()
        with self.lock:
            cpu_kernels.merge(kept, self.edges, self.counts.above, self.counts.ties)
        buffers.held = 0


class _Part:
    """The rankings of some queries, while one block is counted."""

    def __init__(self, job: _Job, start: int, end: int, side: Side) -> None:
        offsets = job.pairs.offsets[start : end + 1] - job.base
        self.start, self.offsets = start, offsets
        self.positives = job.positives[offsets[0] : offsets[-1]]
        self.total = job.counts.rivals[offsets[0] : offsets[-1]]
        self.rivals = np.zeros_like(self.total)
        self.most = int(np.diff(offsets).max())

    def count(self, scores: np.ndarray, height: int, width: int, row: int) -> None:
        """Count a tile of scores whose first row is the side's place `row`; may reorder the scores."""
        offsets = self.offsets[row - self.start : row - self.start + height + 1]
        first, end = offsets[0] - self.offsets[0], offsets[-1] - self.offsets[0]
        count = cpu_kernels.count_above
        if self.most > _MANY:
            scores[:, width:] = cpu_kernels.EXCLUDED
            scores.sort(axis=1)
            width = TILE
            count = cpu_kernels.count_above_sorted
        count(scores, height, width, self.positives[first:end], offsets, self.rivals[first:end])

    def add(self) -> None:
        """Add the block's counts to the whole's."""
        self.total += self.rivals

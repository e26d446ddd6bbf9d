"""Scoring and counting of pairs with torch, for embeddings on a GPU.

Counts the same as `mlbench.evaluation.cpu_counter`. Within a pass nothing is copied to the host: the counts
stay on the device until its end.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import SubprocessError

import numpy as np
import torch

from mlbench.evaluation.all_pairs import AllPairs, PositiveBlock
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.negative_counts import NegativeCounts, Tile
from mlbench.evaluation.pair_counter import PairCounts, Progress
from mlbench.evaluation.products import Products
from mlbench.evaluation.query_negatives import QueryNegatives
from mlbench.evaluation.torch_negatives import TorchNegatives
from mlbench.evaluation.unit_vectors import UnitRows, UnitVectors, padded_width
from mlbench.seeding import any_order, matmul_precision

__all__ = ["TorchCounter", "multiply", "tile_side"]

#: Sides of a tile of scores on a GPU, and on the CPU, where tests run. A side of 8192 takes a millisecond or
#: less, and several kernels are started for each tile in a fraction of that.
_SIDES, _CPU_SIDE = (8192, 4096, 2048), 2048
_LEAST_SIDE = 512

#: Seconds between two reports, for each of which the host waits for the device.
_REPORTED = 0.25


class TorchCounter:
    """A `PairCounter` on the device of the vectors.

    counts: how negatives are counted, None for the fastest way that the device has. held: whether to make the
    unit vectors once, None if half of the free memory holds them.
    """

    def __init__(
        self,
        pairs: AllPairs,
        *,
        products: Products = "float32",
        counts: type[NegativeCounts] | None = None,
        held: bool | None = None,
    ) -> None:
        self._pairs, self._products = pairs, products
        self._device = device = pairs.queries.vectors.device
        self._counts = counts or _fastest(device)
        self._side = side = tile_side(pairs, self._counts.bytes_per_score)
        if held is None:
            images = len(pairs.queries) + (0 if pairs.mirrored else len(pairs.gallery)) + 2 * side
            held = 2 * 4 * images * padded_width(pairs.queries.vectors.shape[1]) <= _free_memory(device)
        self._rows = UnitVectors(pairs.queries, products, side, held=held)
        self._columns = (
            self._rows if pairs.mirrored else UnitVectors(pairs.gallery, products, side, held=held)
        )
        self._scores = torch.empty((side, side), device=device)

    @property
    def tile(self) -> int:
        return self._side

    def scores(self, start: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
        rows, count = self._rows.tile(start), len(self._pairs.gallery)
        for left in range(0, count, self._side):
            columns = self._columns.tile(left)
            with self._precision():
                multiply(rows, columns, self._scores)
                if rows.scales is not None and columns.scales is not None:
                    self._scores.mul_(rows.scales[:, None] * columns.scales)
            yield left, self._scores[: end - start, : min(self._side, count - left)].cpu().numpy()

    def positives(self, start: int, end: int) -> np.ndarray:
        pairs, side = self._pairs, self._side
        blocks = [
            (block.top, left, *_positive_places(pairs, block, left, right, side))
            for block in pairs.positive_blocks(start, end, side)
            for left, right in block.columns
        ]
        if not blocks:
            return np.empty(0, np.float32)
        queries = torch.from_numpy(np.concatenate([each[2] for each in blocks])).to(self._device)
        places = torch.from_numpy(np.concatenate([each[3] for each in blocks])).to(self._device)
        scores = torch.empty(len(places), device=self._device)
        done = 0
        with self._precision():
            for top, left, found, _ in blocks:
                rows, columns = self._rows.tile(top), self._columns.tile(left)
                multiply(rows, columns, self._scores)
                if rows.scales is not None and columns.scales is not None:
                    self._scores.mul_(rows.scales[:, None] * columns.scales)
                part = slice(done, done + len(found))
                torch.index_select(self._scores.view(-1), 0, places[part], out=scores[part])
                done += len(found)
        return _score_of(_key(queries, scores + 0.0).sort().values).cpu().numpy()

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
        counts = self._counts(self._pairs, start, end, positives, edges, histograms)
        tiles = list(_tiles(start, end, len(self._pairs.gallery), self._side, counts.mirrored))
        search = None if nearest is None else TorchNegatives(self._pairs, nearest, mirrored=counts.mirrored)
        report = _paced(progress, len(tiles), self._wait)
        with self._precision(), any_order():
            rows, held = self._rows.tile(start), start
            for done, tile in enumerate(tiles, 1):
                if tile.top != held:
                    rows, held = self._rows.tile(tile.top), tile.top
                columns = self._columns.tile(tile.left)
                multiply(rows, columns, self._scores)
                if search is not None:
                    search.count(self._scores, rows, columns, tile)
                counts.count(self._scores, rows, columns, tile)
                report(done)
        if search is not None:
            search.result()
        return counts.result()

    @contextmanager
    def _precision(self) -> Iterator[None]:
        # TF32 products of vectors rounded to TF32 or bfloat16 are exact.
        with torch.no_grad(), matmul_precision("highest" if self._products == "float32" else "high"):
            yield

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def multiply(rows: UnitRows, columns: UnitRows, scores: torch.Tensor) -> None:
    """scores = products of the rows with the columns, summed in float32."""
    if rows.vectors.dtype == torch.float32:
        torch.mm(rows.vectors, columns.vectors.T, out=scores)
    else:
        torch.mm(rows.vectors, columns.vectors.T, out_dtype=torch.float32, out=scores)


def tile_side(pairs: AllPairs, bytes_per_score: int) -> int:
    """Side of every tile, a power of two: at most as large as a sixteenth of the device's memory allows, and
    no larger than the pairs need. Depends on the device and the number of images alone, as the bits of a
    product may depend on it."""
    device = pairs.queries.vectors.device
    most = _CPU_SIDE
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory // 16
        most = next((side for side in _SIDES if side**2 * bytes_per_score <= memory), _SIDES[-1])
    images = max(len(pairs.queries), len(pairs.gallery))
    return min(most, max(_LEAST_SIDE, 1 << (images - 1).bit_length()))


def _fastest(device: torch.device) -> type[NegativeCounts]:
    """On a GPU the kernel of Triton, if that is installed and can compile it."""
    if device.type != "cuda":
        return NegativeCounts
    try:
        from mlbench.evaluation.triton_counts import TritonCounts, check_kernel

        check_kernel(device)
    except (ImportError, RuntimeError, OSError, SubprocessError) as error:
        # Triton needs a C compiler, and has no package for some systems.
        warnings.warn(f"pairs are counted without Triton, which is slower: {error}", stacklevel=2)
        return NegativeCounts
    return TritonCounts


def _free_memory(device: torch.device) -> int:
    """Bytes that are free on the device, with those that torch keeps for itself; on the CPU, no limit."""
    if device.type != "cuda":
        return 1 << 62
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _paced(progress: Progress, total: int, wait: Callable[[], None]) -> Callable[[int], None]:
    """A function to call with the number of queued tiles. From time to time, and at the end, it waits until
    they are counted and reports them: the host does not run far ahead of the device, nor wait for each
    tile."""
    reported = time.monotonic()
    progress(0, total)

    def report(queued: int) -> None:
        nonlocal reported
        if queued == total or time.monotonic() - reported >= _REPORTED:
            wait()
            progress(queued, total)
            reported = time.monotonic()

    return report


def _positive_places(
    pairs: AllPairs, block: PositiveBlock, left: int, right: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Queries of the positives of a block's rows in columns [left, right), (P,) int64, and the places of the
    positives in the tile, row * side + column."""
    rows = np.arange(block.top, block.bottom)
    labels, first = pairs.queries.labels[rows], pairs.gallery.first
    begin, end = (np.clip(each, left, right) for each in (first[labels], first[labels + 1]))
    counts = end - begin
    queries = np.repeat(rows, counts)
    columns = np.arange(len(queries)) + np.repeat(begin - (np.cumsum(counts) - counts), counts)
    other = pairs.queries.groups[queries] != pairs.gallery.groups[columns]
    queries, columns = queries[other], columns[other]
    return queries, (queries - block.top) * side + columns - left


def _key(queries: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """An int64 that sorts by query, then by score: the bits of the float, in reverse order for negative
    floats."""
    bits = scores.view(torch.int32).long() & 0xFFFFFFFF
    ordered = torch.where(bits >> 31 > 0, 0xFFFFFFFF - bits, bits + (1 << 31))
    return (queries << 32) + ordered


def _score_of(keys: torch.Tensor) -> torch.Tensor:
    """The score of a key."""
    ordered = keys & 0xFFFFFFFF
    bits = torch.where(ordered >> 31 > 0, ordered - (1 << 31), 0xFFFFFFFF - ordered)
    return bits.to(torch.int32).view(torch.float32)


def _tiles(start: int, end: int, width: int, side: int, mirrored: bool) -> Iterator[Tile]:
    for top in range(start, end, side):
        for left in range(top if mirrored else 0, width, side):
            yield Tile(top, min(top + side, end), left, min(left + side, width))

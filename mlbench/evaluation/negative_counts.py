"""Counts of negatives that stay on a device during a pass, made by torch operators."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.pair_counter import PairCounts
from mlbench.evaluation.similarity_grid import STEP
from mlbench.evaluation.unit_vectors import UnitRows

__all__ = ["EXCLUDED", "HALF_GRID", "NegativeCounts", "Tile", "band_starts"]

#: The score of an excluded pair, below every cosine.
EXCLUDED = -2.0

#: Grid points on either side of 0: up to 1, and further than any rounding error. The lowest holds excluded
#: pairs alone.
HALF_GRID = round(1 / STEP) + 256


class Tile(NamedTuple):
    """Queries [top, bottom) and gallery images [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


class NegativeCounts:
    """Counts of the negatives of queries [start, end); arguments as of `PairCounter.negatives`.

    All counts are integers that are added in any order. A tile takes a fixed number of operators and none
    that waits for the device. A score below every threshold, positive or band is counted too, in a place that
    is dropped at the end: to find the others would need their number on the host.
    """

    #: Bytes for each score of a tile, at most.
    bytes_per_score = 40

    #: Copies of the grid, whose sum counts. On a GPU additions to one address wait for each other, and most
    #: scores are below the lowest threshold, which is one point of the grid.
    grid_copies = 64

    def __init__(
        self,
        pairs: AllPairs,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        histograms: ClassHistograms | None,
    ) -> None:
        self._pairs, self._start, self._edges, self._histograms = pairs, start, edges, histograms
        self._device = pairs.queries.vectors.device
        self.mirrored = pairs.mirrored and (start, end) == (0, len(pairs.queries))
        self._copies = self.grid_copies if self._device.type == "cuda" else 1
        self._offsets = pairs.offsets[start : end + 1] - pairs.offsets[start]
        # Each query has a place for the scores below its first positive, and one for each positive.
        self._below = self._offsets[:-1] + np.arange(end - start)
        self._row_labels = self._on_device(pairs.queries.labels)
        self._column_labels = self._row_labels if pairs.mirrored else self._on_device(pairs.gallery.labels)
        self._positives = self._on_device(positives)
        self._first = self._on_device(self._offsets)
        self._grid = self._zeros(self._copies * (2 * HALF_GRID + 1), torch.int64)
        self._between = self._zeros(len(positives) + end - start, torch.int32)
        bands = 0 if histograms is None else histograms.negatives.shape[1] + 1
        self._bands = self._zeros(len(pairs.classes) * bands, torch.int64)
        self._prepare(bands)

    def count(self, scores: torch.Tensor, rows: UnitRows, columns: UnitRows, tile: Tile) -> None:
        """Count a tile of scores, (side, side) float32, the unscaled products of its rows and columns; may
        change the scores."""
        if rows.scales is not None and columns.scales is not None:
            scores.mul_(rows.scales[:, None] * columns.scales)
        top, bottom, left, right = tile
        scores = scores[: bottom - top, : right - left].contiguous()
        self._exclude(scores, tile)
        steps = scores.mul(1 / STEP).round_().clamp_(self._lowest_step, HALF_GRID).long()
        self._add(self._grid, steps.add_(self._point[: right - left]))
        del steps
        self._rank(scores, top)
        if self.mirrored:
            self._rank(scores.T.contiguous(), left)
        if self._histograms is not None:
            band = torch.bucketize(scores, self._band_starts, right=True)
            self._add(self._bands, band + self._row_bands[top:bottom, None])
            self._add(self._bands, band.add_(self._column_bands[left:right]))

    def result(self) -> PairCounts:
        """The counts, copied to the host; adds those of the histograms to `histograms.negatives`."""
        times = 2 if self.mirrored else 1
        if self._histograms is not None:
            negatives = self._histograms.negatives
            counted = self._bands.view(len(negatives), -1)[:, 1:]
            negatives += times * counted.cpu().numpy()
        at_point = self._grid.view(self._copies, -1).sum(0).cpu().numpy()
        reaching = np.append(at_point[::-1].cumsum()[::-1], 0)
        exact = self._edges.astype(np.float64) / STEP
        step = np.ceil(exact)
        point = np.clip(step, 1 - HALF_GRID, HALF_GRID + 1).astype(np.int64) + HALF_GRID
        on_point = (step == exact) & (np.abs(step) < HALF_GRID)
        return PairCounts(
            above=times * reaching[point],
            ties=times * np.where(on_point, at_point[np.minimum(point, 2 * HALF_GRID)], 0),
            between=np.delete(self._between.cpu().numpy(), self._below),
        )

    def _prepare(self, bands: int) -> None:
        """Make what the counting of a tile reads."""
        pairs = self._pairs
        self._lowest_step = max(int(np.ceil(float(self._edges[0]) / STEP)) - 1, -HALF_GRID)
        copy = np.arange(len(pairs.gallery)) % self._copies
        self._point = self._on_device(copy * (2 * HALF_GRID + 1) + HALF_GRID)
        self._base = self._on_device(self._below)
        self._ones = {kind: torch.ones(1, dtype=kind, device=self._device) for kind in _COUNTS}
        self._blocks: dict[int, torch.Tensor] = {}
        if self._histograms is not None:
            self._band_starts = self._on_device(band_starts(self._histograms))
            self._row_bands, self._column_bands = self._row_labels * bands, self._column_labels * bands

    def _exclude(self, scores: torch.Tensor, tile: Tile) -> None:
        """Exclude pairs of one class and, if mirrored, those whose other order is counted."""
        top, bottom, left, right = tile
        first, last = self._pairs.queries.labels[[top, bottom - 1]]
        if first > self._pairs.gallery.labels[right - 1] or last < self._pairs.gallery.labels[left]:
            return
        rows, columns = self._row_labels[top:bottom, None], self._column_labels[left:right]
        # Labels ascend: left of the diagonal, that of the row is at least that of the column.
        scores.masked_fill_(rows >= columns if self.mirrored else rows == columns, EXCLUDED)

    def _rank(self, scores: torch.Tensor, first: int) -> None:
        """Count scores between the positives of their rows, the first of which is query `first`."""
        positives = self._padded(first - self._start, len(scores))
        if positives.shape[1]:
            places = torch.searchsorted(positives, scores, right=True)
            at = first - self._start
            self._add(self._between, places.add_(self._base[at : at + len(scores), None]))

    def _padded(self, start: int, count: int) -> torch.Tensor:
        """Positives of queries, (count, most of a query) float32, ascending, padded with infinity; made when
        the first tile of a block of queries is counted."""
        if start not in self._blocks:
            if not self.mirrored:
                self._blocks.clear()
            first = self._first[start : start + count + 1, None]
            most = int(np.diff(self._offsets[start : start + count + 1]).max())
            places = first[:-1] + torch.arange(most, device=self._device)
            inside = places < first[1:]
            found = self._positives[places.clamp_(max=len(self._positives) - 1)]
            self._blocks[start] = torch.where(inside, found, torch.inf)
        return self._blocks[start]

    def _add(self, counts: torch.Tensor, places: torch.Tensor) -> None:
        counts.scatter_add_(0, places.view(-1), self._ones[counts.dtype].expand(places.numel()))

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def _zeros(self, count: int, kind: torch.dtype) -> torch.Tensor:
        return torch.zeros(count, dtype=kind, device=self._device)


_COUNTS = (torch.int32, torch.int64)


def band_starts(histograms: ClassHistograms) -> np.ndarray:
    """The lowest score of each bin, (B,) float32: the first whose bin number, computed in float32 as compiled
    code does, reaches the bin's."""
    floor, scale = np.float32(histograms.floor), np.float32(1 / histograms.width)
    bins = np.arange(histograms.negatives.shape[1], dtype=np.float32)
    # Two floats further on either side, for bins that are narrower than a float.
    below, reaching = (_ordered(floor + (bins + side) / scale) + 2 * side for side in (-1, 1))
    for _ in range(32):
        middle = (below + reaching) // 2
        reaches = (_unordered(middle) - floor) * scale >= bins
        below, reaching = np.where(reaches, below, middle), np.where(reaches, middle, reaching)
    return _unordered(reaching)


def _ordered(values: np.ndarray) -> np.ndarray:
    """The place of float32 values in the order of all floats, int64; that of 0 is 0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _unordered(places: np.ndarray) -> np.ndarray:
    """The float32 value at each place of `_ordered`."""
    return np.where(places < 0, (1 << 31) - places, places).astype(np.uint32).view(np.float32)

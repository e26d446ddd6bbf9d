"""Counts of negatives by one Triton kernel, which reads each score of a tile once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from mlbench.evaluation.negative_counts import EXCLUDED, HALF_GRID, NegativeCounts, Tile
from mlbench.evaluation.similarity_grid import STEP
from mlbench.evaluation.unit_vectors import UnitRows

__all__ = ["TritonCounts", "check_kernel", "count_scores"]

#: Rows and columns of the scores that one program counts.
_HEIGHT, _WIDTH = 32, 64

_EXCLUDED = tl.constexpr(EXCLUDED)
_POINTS = tl.constexpr(2 * HALF_GRID + 1)
_HALF_GRID = tl.constexpr(HALF_GRID)
_PER_UNIT = tl.constexpr(1 / STEP)
#: 1.5 * 2**23: a float32 near it is a whole number, so adding and subtracting it rounds, ties to even.
_ROUND = tl.constexpr(12582912.0)


class TritonCounts(NegativeCounts):
    """`NegativeCounts` by a kernel that skips blocks without a score that reaches a threshold, a band or a
    positive. Only scores that reach one are counted."""

    bytes_per_score = 4
    grid_copies = 8

    def count(self, scores: torch.Tensor, rows: UnitRows, columns: UnitRows, tile: Tile) -> None:
        """Count a tile of scores; arguments as of `NegativeCounts.count`."""
        top, bottom, left, right = tile
        grid = (triton.cdiv(right - left, _WIDTH), triton.cdiv(bottom - top, _HEIGHT))
        kernel: Any = count_scores
        with torch.cuda.device_of(scores):  # Triton starts kernels on the current device
            kernel[grid](
                scores,
                scores.stride(0),
                rows.scales,
                columns.scales,
                self._row_labels,
                self._column_labels,
                top,
                bottom,
                left,
                right,
                self._grid,
                self._floor,
                self._positives,
                self._first,
                self._start,
                self._between,
                self._halvings,
                self._bands,
                *self._band_numbers,
                scaled=rows.scales is not None,
                mirrored=self.mirrored,
                ranked=self._halvings > 0,
                banded=self._histograms is not None,
                copies=self._copies,
                height=_HEIGHT,
                width=_WIDTH,
                enable_fp_fusion=False,
            )

    def _prepare(self, bands: int) -> None:
        # Lower scores round to less than the lowest threshold.
        self._floor = float(np.float32(self._edges[0] - STEP))
        self._halvings = int(np.diff(self._offsets).max()).bit_length() if len(self._positives) else 0
        self._row_labels = self._row_labels.int()
        self._column_labels = self._column_labels.int()
        self._band_numbers = (1, 0.0, 1.0)
        if (histograms := self._histograms) is not None:
            floor, scale = np.float32(histograms.floor), np.float32(1 / histograms.width)
            self._band_numbers = (bands, float(floor), float(scale))


def check_kernel(device: torch.device) -> None:
    """Compile the kernel and run it without scores to count. Raises RuntimeError, OSError or SubprocessError
    where Triton has no compiler or does not know the device."""
    scores, floats = torch.zeros((_HEIGHT, _WIDTH), device=device), torch.zeros(1, device=device)
    ints, longs = (torch.zeros(2, dtype=kind, device=device) for kind in (torch.int32, torch.int64))
    kernel: Any = count_scores
    with torch.cuda.device_of(scores):
        kernel[(1, 1)](
            *(scores, scores.stride(0), None, None, ints, ints, 0, 0, 0, 0, longs, 0.0, floats, longs),
            *(0, ints, 1, longs, 1, 0.0, 1.0),
            scaled=False,
            mirrored=True,
            ranked=True,
            banded=True,
            copies=TritonCounts.grid_copies,
            height=_HEIGHT,
            width=_WIDTH,
            enable_fp_fusion=False,
        )


@triton.jit
def _count_between(
    scores,
    lowest,
    first,
    positives,
    count,
    halvings,
    between,
):
    """Count scores between the positives of their queries.

    lowest: the first positive of the query, infinity for none. first, count: the index of the query's first
    positive, and how many there are. between: where the count of the first is. All are broadcast to the
    scores.
    """
    reaching = scores >= lowest
    if tl.max(tl.max(reaching.to(tl.int32), axis=1), axis=0) > 0:
        low = tl.zeros_like(scores).to(tl.int32)
        high = low + count
        for _ in range(halvings):
            middle = (low + high) // 2
            inside = reaching & (high - low > 1)
            value = tl.load(positives + first + middle, mask=inside, other=0.0)
            reached = value <= scores
            low = tl.where(inside & reached, middle, low)
            high = tl.where(inside & (value > scores), middle, high)
        tl.atomic_add(between + low, 1, mask=reaching, sem="relaxed")


# Code for other values of these numbers would be compiled again for a gain that is not needed.
@triton.jit(do_not_specialize=["top", "bottom", "left", "right", "start", "halvings", "band_count"])
def count_scores(
    scores,
    stride,
    row_scales,
    column_scales,
    row_labels,
    column_labels,
    top,
    bottom,
    left,
    right,
    grid,
    floor,
    positives,
    first,
    start,
    between,
    halvings,
    bands,
    band_count,
    band_floor,
    band_scale,
    scaled: tl.constexpr,
    mirrored: tl.constexpr,
    ranked: tl.constexpr,
    banded: tl.constexpr,
    copies: tl.constexpr,
    height: tl.constexpr,
    width: tl.constexpr,
):
    """Count scores of queries [top, bottom) with gallery images [left, right), a block in each program.

    first: (queries of the pass + 1,), where the positives of each query start, from query `start`. halvings:
    of the most positives of a query to find one of them. band_count: places of each class in `bands`.
    """
    row = tl.program_id(1) * height + tl.arange(0, height)
    column = tl.program_id(0) * width + tl.arange(0, width)
    query, image = top + row, left + column
    is_query, is_image = query < bottom, image < right
    inside = is_query[:, None] & is_image[None, :]
    if mirrored:
        inside &= query[:, None] < image[None, :]
    row_label = tl.load(row_labels + query, mask=is_query, other=-1)
    column_label = tl.load(column_labels + image, mask=is_image, other=-2)
    inside &= row_label[:, None] != column_label[None, :]
    place = row.to(tl.int64)[:, None] * stride + column[None, :]
    # Without a mask, so that several scores are read at a time: the tile is whole blocks.
    value = tl.load(scores + place)
    if scaled:
        value *= tl.load(row_scales + row)[:, None] * tl.load(column_scales + column)[None, :]
    value = tl.where(inside, value, _EXCLUDED)
    best = tl.max(tl.max(value, axis=1), axis=0)
    one = tl.full((height, width), 1, tl.int64)
    if best >= floor:
        point = ((value * _PER_UNIT + _ROUND) - _ROUND).to(tl.int32) + _HALF_GRID
        point = tl.minimum(tl.maximum(point, 1), _POINTS - 1)
        copy = (tl.program_id(0) + tl.program_id(1)) % copies
        tl.atomic_add(grid + copy * _POINTS + point, one, mask=inside & (value >= floor), sem="relaxed")
    if ranked:
        own = first + (query - start)
        row_first = tl.load(own, mask=is_query, other=0)
        row_count = (tl.load(own + 1, mask=is_query, other=0) - row_first).to(tl.int32)
        lowest = tl.load(positives + row_first, mask=row_count > 0, other=float("inf"))
        _count_between(
            value,
            lowest[:, None],
            row_first[:, None],
            positives,
            row_count[:, None],
            halvings,
            # Every query has one more place than positives, for scores below them.
            between + (row_first + query - start + 1)[:, None],
        )
        if mirrored:
            own = first + image
            column_first = tl.load(own, mask=is_image, other=0)
            column_count = (tl.load(own + 1, mask=is_image, other=0) - column_first).to(tl.int32)
            lowest = tl.load(positives + column_first, mask=column_count > 0, other=float("inf"))
            _count_between(
                value,
                lowest[None, :],
                column_first[None, :],
                positives,
                column_count[None, :],
                halvings,
                between + (column_first + image + 1)[None, :],
            )
    if banded:  # noqa: SIM102  (decided when Triton compiles)
        if best >= band_floor:
            counted = inside & (value >= band_floor)
            band = tl.minimum(((value - band_floor) * band_scale).to(tl.int32), band_count - 2) + 1
            row_band = bands + row_label.to(tl.int64)[:, None] * band_count + band
            column_band = bands + column_label.to(tl.int64)[None, :] * band_count + band
            tl.atomic_add(row_band, one, mask=counted, sem="relaxed")
            tl.atomic_add(column_band, one, mask=counted, sem="relaxed")

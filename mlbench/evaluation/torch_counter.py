"""Scoring and counting of pairs with torch, for embeddings on a GPU, by sorting and search.

Counts the same as `mlbench.evaluation.cpu_counter`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mlbench.evaluation.all_pairs import AllPairs, OrderedImages
from mlbench.evaluation.class_histograms import ClassHistograms
from mlbench.evaluation.pair_counter import PairCounts, Progress
from mlbench.evaluation.products import Products
from mlbench.evaluation.similarity_grid import STEP
from mlbench.seeding import matmul_precision

__all__ = ["TorchCounter"]

#: Side of a tile of scores. All tiles have this shape, so that the bits of a product depend on nothing else.
#: Temporaries of a tile (masks, keys, indices) take less than 256 MiB.
_SIDE = 2048

_EXCLUDED = -2.0


class TorchCounter:
    """A `PairCounter` on the device of the vectors."""

    def __init__(self, pairs: AllPairs, *, products: Products = "float32") -> None:
        self._pairs = pairs
        self._products = products
        self._device = pairs.queries.vectors.device

    def positives(self, start: int, end: int) -> np.ndarray:
        pairs = self._pairs
        found = []
        for block in pairs.positive_blocks(start, end, _SIDE):
            queries = torch.arange(block.top, block.bottom, device=self._device)
            rows = self._read(pairs.queries, block.top, block.bottom)
            for left, right in block.columns:
                scores = self._scores(rows, self._read(pairs.gallery, left, right))
                scores = scores[: block.bottom - block.top, : right - left]
                same = self._same_class(block.top, block.bottom, left, right)
                groups = self._tensor(pairs.queries.groups[block.top : block.bottom])
                other = self._tensor(pairs.gallery.groups[left:right])[None] != groups[:, None]
                row, column = torch.nonzero(same & other, as_tuple=True)
                found.append(_key(queries[row], scores[row, column]))
        keys = torch.cat(found).sort().values if found else torch.empty(0, dtype=torch.int64)
        return _score_of(keys).cpu().numpy()

    def negatives(
        self,
        start: int,
        end: int,
        positives: np.ndarray,
        edges: np.ndarray,
        histograms: ClassHistograms | None,
        progress: Progress,
    ) -> PairCounts:
        pairs = self._pairs
        whole = pairs.mirrored and (start, end) == (0, len(pairs.queries))
        offsets = pairs.offsets[start : end + 1]
        queries = np.repeat(np.arange(start, end), np.diff(offsets))
        rankings = _Rankings(pairs.offsets, start, self._tensor(queries), self._tensor(positives))
        levels = self._tensor(edges)
        above = torch.zeros(len(edges) + 1, dtype=torch.int64, device=self._device)
        ties = torch.zeros_like(above)
        tiles = list(_tiles(start, end, len(pairs.gallery), _SIDE, whole))
        for done, (top, bottom, left, right) in enumerate(tiles, 1):
            rows = self._read(pairs.queries, top, bottom)
            scores = self._scores(rows, self._read(pairs.gallery, left, right))[
                : bottom - top, : right - left
            ]
            scores.masked_fill_(self._same_class(top, bottom, left, right), _EXCLUDED)
            rankings.count(scores, top)
            diagonal = whole and top == left
            if diagonal:
                scores = scores.triu(1) + torch.full_like(scores, _EXCLUDED).tril()
            elif whole:
                rankings.count(scores.T, left)
            row, column = torch.nonzero(scores >= levels[0] - STEP, as_tuple=True)
            found = scores[row, column]
            kept = torch.round(found / STEP) * STEP
            place = torch.bucketize(kept, levels, right=True)
            above += torch.bincount(place, minlength=len(above))
            ties += torch.bincount(place[levels[place - 1] == kept], minlength=len(above))
            if histograms is not None:
                self._add_to_histograms(histograms, found, row + top, column + left, 2 if whole else 1)
            progress(done, len(tiles))
        times = 2 if whole else 1
        return PairCounts(
            above=times * above.flip(0).cumsum(0).flip(0)[1:].cpu().numpy(),
            ties=times * ties[1:].cpu().numpy(),
            between=rankings.between.to(torch.int32).cpu().numpy(),
        )

    def _add_to_histograms(
        self,
        histograms: ClassHistograms,
        scores: torch.Tensor,
        row: torch.Tensor,
        column: torch.Tensor,
        times: int,
    ) -> None:
        floor, scale = np.float32(histograms.floor), np.float32(1 / histograms.width)
        inside = scores >= float(floor)
        count = histograms.negatives.shape[1]
        bins = ((scores[inside] - float(floor)) * float(scale)).long().clamp_(max=count - 1)
        for images, indices in ((self._pairs.queries, row), (self._pairs.gallery, column)):
            slots = self._tensor(images.labels)[indices[inside]] * count + bins
            counted = torch.bincount(slots, minlength=histograms.negatives.size)
            histograms.negatives[:] += times * counted.cpu().numpy().reshape(histograms.negatives.shape)

    def _read(self, ordered: OrderedImages, start: int, end: int) -> torch.Tensor:
        """Unit vectors of images [start, end), (_SIDE, D) float32, padded with zeros, rounded for the
        products."""
        rows = ordered.vectors[self._tensor(ordered.images[start:end])]
        unit = torch.zeros((_SIDE, rows.shape[1]), device=self._device)
        unit[: end - start] = (rows.double() / self._tensor(ordered.norms[start:end])[:, None]).float()
        if self._products == "bf16":
            return unit.bfloat16().float()
        if self._products == "tf32":
            bits = unit.view(torch.int32)
            bits = bits + ((bits >> 13) & 1) + 0xFFF
            return (bits & ~0x1FFF).view(torch.float32)
        return unit

    def _scores(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        # TF32 products of vectors rounded to TF32 or bfloat16 are exact.
        with matmul_precision("highest" if self._products == "float32" else "high"):
            scores = rows @ columns.T
        if self._products != "float32":
            scores *= _scales(rows)[:, None] * _scales(columns)
        return scores + 0.0  # turns -0 into 0, which is equal but has another key

    def _same_class(self, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
        labels = self._tensor(self._pairs.queries.labels[top:bottom])
        return labels[:, None] == self._tensor(self._pairs.gallery.labels[left:right])[None]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


class _Rankings:
    """Counts of negatives between the positives of each query."""

    def __init__(
        self, offsets: np.ndarray, start: int, queries: torch.Tensor, positives: torch.Tensor
    ) -> None:
        self._offsets = offsets - offsets[start]
        self._keys = _key(queries, positives)
        self.between = torch.zeros(len(positives), dtype=torch.int64, device=positives.device)

    def count(self, scores: torch.Tensor, top: int) -> None:
        """Count a tile of scores whose first row is query `top`."""
        first, last = self._offsets[top], self._offsets[top + len(scores)]
        keys = self._keys[first:last]
        if len(keys) == 0:
            return
        starts = torch.from_numpy(self._offsets[top : top + len(scores) + 1]).to(scores.device)
        lowest = torch.full((len(scores),), torch.inf, device=scores.device)
        some = starts[:-1] < starts[1:]
        lowest[some] = _score_of(keys[starts[:-1][some] - first])
        row, column = torch.nonzero(scores >= lowest[:, None], as_tuple=True)
        places = torch.searchsorted(keys, _key(row + top, scores[row, column]), right=True) - 1
        self.between[first:last] += torch.bincount(places, minlength=len(keys))


def _scales(rows: torch.Tensor) -> torch.Tensor:
    """The inverse of the norm of each row, (n,) float32; rounding has changed the norms of unit vectors."""
    squares = rows.double().square().sum(1)
    return torch.where(squares > 0, squares, 1).sqrt().reciprocal().float()


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


def _tiles(start: int, end: int, width: int, side: int, whole: bool) -> Iterator[tuple[int, int, int, int]]:
    for top in range(start, end, side):
        for left in range(top if whole else 0, width, side):
            yield top, min(top + side, end), left, min(left + side, width)

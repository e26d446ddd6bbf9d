"""Counting with torch, for embeddings on a GPU: what `mlbench.evaluation.cpu_counter` counts, by sorting and
search."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mlbench.evaluation.all_pairs import Pairs, Side
from mlbench.evaluation.pair_scan import Bands, Counts, Products, Progress
from mlbench.evaluation.similarity_grid import STEP
from mlbench.seeding import matmul_precision

__all__ = ["TorchCounter"]

#: Side of a tile of scores. A tile always has this shape, so that a product's bits depend on nothing else;
#: what is made of one (masks, keys, places) takes less than 256 MiB.
_SIDE = 2048

_EXCLUDED = -2.0


class TorchCounter:
    """Counts the pairs on the device of the vectors (see `mlbench.evaluation.pair_scan.Counter`)."""

    def __init__(self, pairs: Pairs, *, products: Products = "float32") -> None:
        self._pairs = pairs
        self._products = products
        self._device = pairs.queries.vectors.device

    def positives(self, start: int, end: int) -> np.ndarray:
        pairs = self._pairs
        found = []
        for window in pairs.windows(start, end, _SIDE):
            places = torch.arange(window.top, window.bottom, device=self._device)
            rows = self._read(pairs.queries, window.top, window.bottom)
            for left, right in window.columns:
                scores = self._scores(rows, self._read(pairs.gallery, left, right))
                scores = scores[: window.bottom - window.top, : right - left]
                same = self._same_class(window.top, window.bottom, left, right)
                asking = self._tensor(pairs.queries.groups[window.top : window.bottom])
                other = self._tensor(pairs.gallery.groups[left:right])[None] != asking[:, None]
                row, column = torch.nonzero(same & other, as_tuple=True)
                found.append(_key(places[row], scores[row, column]))
        keys = torch.cat(found).sort().values if found else torch.empty(0, dtype=torch.int64)
        return _score_of(keys).cpu().numpy()

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
        whole = pairs.mirrored and (start, end) == (0, len(pairs.queries))
        offsets = pairs.offsets[start : end + 1]
        places = np.repeat(np.arange(start, end), np.diff(offsets))
        rankings = _Rankings(pairs.offsets, start, self._tensor(places), self._tensor(positives))
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
            if bands is not None:
                self._count_bands(bands, found, row + top, column + left, 2 if whole else 1)
            progress(done, len(tiles))
        times = 2 if whole else 1
        return Counts(
            above=times * above.flip(0).cumsum(0).flip(0)[1:].cpu().numpy(),
            ties=times * ties[1:].cpu().numpy(),
            rivals=rankings.rivals.to(torch.int32).cpu().numpy(),
        )

    def _count_bands(
        self, bands: Bands, scores: torch.Tensor, row: torch.Tensor, column: torch.Tensor, times: int
    ) -> None:
        floor, scale = np.float32(bands.floor), np.float32(1 / bands.width)
        inside = scores >= float(floor)
        count = bands.negatives.shape[1]
        band = ((scores[inside] - float(floor)) * float(scale)).long().clamp_(max=count - 1)
        for side, places in ((self._pairs.queries, row), (self._pairs.gallery, column)):
            slots = self._tensor(side.labels)[places[inside]] * count + band
            counted = torch.bincount(slots, minlength=bands.negatives.size)
            bands.negatives[:] += times * counted.cpu().numpy().reshape(bands.negatives.shape)

    def _read(self, side: Side, start: int, end: int) -> torch.Tensor:
        """Unit vectors of a range of a side, (_SIDE, D) float32, filled up with zeros, rounded as the
        products want them."""
        rows = side.vectors[self._tensor(side.images[start:end])]
        unit = torch.zeros((_SIDE, rows.shape[1]), device=self._device)
        unit[: end - start] = (rows.double() / self._tensor(side.norms[start:end])[:, None]).float()
        if self._products == "bf16":
            return unit.bfloat16().float()
        if self._products == "tf32":
            bits = unit.view(torch.int32)
            bits = bits + ((bits >> 13) & 1) + 0xFFF
            return (bits & ~0x1FFF).view(torch.float32)
        return unit

    def _scores(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        # Rounded vectors lose nothing in TF32, and bfloat16 products are exact there too.
        with matmul_precision("highest" if self._products == "float32" else "high"):
            scores = rows @ columns.T
        if self._products != "float32":
            scores *= _scales(rows)[:, None] * _scales(columns)
        return scores + 0.0  # no negative zero, which is equal to zero but has another key

    def _same_class(self, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
        asking = self._tensor(self._pairs.queries.labels[top:bottom])
        return asking[:, None] == self._tensor(self._pairs.gallery.labels[left:right])[None]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


class _Rankings:
    """How many negatives fall between the positives of each query."""

    def __init__(
        self, offsets: np.ndarray, start: int, places: torch.Tensor, positives: torch.Tensor
    ) -> None:
        self._offsets = offsets - offsets[start]
        self._keys = _key(places, positives)
        self.rivals = torch.zeros(len(positives), dtype=torch.int64, device=positives.device)

    def count(self, scores: torch.Tensor, top: int) -> None:
        """Count a tile of scores whose first row is query `top`; its rows' positives are known."""
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
        self.rivals[first:last] += torch.bincount(places, minlength=len(keys))


def _scales(rows: torch.Tensor) -> torch.Tensor:
    """One over the length of each row, (n,) float32; rounded vectors are not quite of unit length."""
    squares = rows.double().square().sum(1)
    return torch.where(squares > 0, squares, 1).sqrt().reciprocal().float()


def _key(places: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """One int64 that orders by place, then by score: a float's bits, turned round where it is negative."""
    bits = scores.view(torch.int32).long() & 0xFFFFFFFF
    ordered = torch.where(bits >> 31 > 0, 0xFFFFFFFF - bits, bits + (1 << 31))
    return (places << 32) + ordered


def _score_of(keys: torch.Tensor) -> torch.Tensor:
    """The score that is in a key."""
    ordered = keys & 0xFFFFFFFF
    bits = torch.where(ordered >> 31 > 0, ordered - (1 << 31), 0xFFFFFFFF - ordered)
    return bits.to(torch.int32).view(torch.float32)


def _tiles(start: int, end: int, width: int, side: int, whole: bool) -> Iterator[tuple[int, int, int, int]]:
    for top in range(start, end, side):
        for left in range(top if whole else 0, width, side):
            yield top, min(top + side, end), left, min(left + side, width)

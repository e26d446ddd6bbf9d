"""The nearest negatives of queries, found by torch operators in tiles that stay on the device."""

from __future__ import annotations

import torch

from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.negative_counts import EXCLUDED, Tile
from mlbench.evaluation.query_negatives import QueryNegatives, lowest_accepted
from mlbench.evaluation.unit_vectors import UnitRows

__all__ = ["TorchNegatives"]


class TorchNegatives:
    """Fills `found` from tiles of scores. mirrored: whether a tile counts for its columns, too."""

    def __init__(self, pairs: AllPairs, found: QueryNegatives, *, mirrored: bool) -> None:
        self._pairs, self._found, self._mirrored = pairs, found, mirrored
        self._cutoff = float(lowest_accepted(found.threshold))
        device, count = pairs.queries.vectors.device, len(pairs.queries)
        self._similarity = torch.full((count,), EXCLUDED, device=device)
        self._place = torch.full((count,), -1, device=device)
        self._accepted = torch.zeros(count, dtype=torch.int64, device=device)
        self._row_labels, self._column_labels = (
            torch.from_numpy(each.labels).to(device) for each in (pairs.queries, pairs.gallery)
        )

    def count(self, scores: torch.Tensor, rows: UnitRows, columns: UnitRows, tile: Tile) -> None:
        """Search a tile of scores, the unscaled products of its rows and columns, which stay unchanged."""
        top, bottom, left, right = tile
        scores = scores[: bottom - top, : right - left]
        if rows.scales is not None and columns.scales is not None:
            scores = scores * (rows.scales[: bottom - top, None] * columns.scales[: right - left])
        first, last = self._pairs.queries.labels[[top, bottom - 1]]
        if first <= self._pairs.gallery.labels[right - 1] and last >= self._pairs.gallery.labels[left]:
            same = self._row_labels[top:bottom, None] == self._column_labels[left:right]
            scores = scores.masked_fill(same, EXCLUDED)
        self._add(scores, 1, top, left)
        if self._mirrored and top != left:
            self._add(scores, 0, left, top)

    def _add(self, scores: torch.Tensor, dimension: int, start: int, first: int) -> None:
        """Add what the queries from `start` find in a tile, whose gallery images are from `first`."""
        best, place = scores.max(dimension)
        part = slice(start, start + len(best))
        nearer = best > self._similarity[part]
        self._place[part] = torch.where(nearer, place + first, self._place[part])
        self._similarity[part] = torch.where(nearer, best, self._similarity[part])
        self._accepted[part] += (scores >= self._cutoff).sum(dimension)

    def result(self) -> None:
        """Copy everything to the host, into `found`."""
        similarity, place, accepted = (
            each.cpu().numpy() for each in (self._similarity, self._place, self._accepted)
        )
        self._found.add(0, similarity, place, accepted)

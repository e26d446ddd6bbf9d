"""Retrieval metrics: the ranks of the positives in each query's ranking of the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.plugin import MetricOptions, Quantity

if TYPE_CHECKING:
    import numpy as np

    from mlbench.plugin import Ranks

__all__ = ["Retrieval"]

_Depth = Annotated[int, Field(ge=1)]


class Retrieval(MetricOptions):
    """Recall@K, Precision@K, R-Precision, MAP@R, mAP and MRR, averaged over queries that have a positive.

        Recall@K    = 1 if r_1 <= K, else 0
        Precision@K = share of positives among the first K, for K above 1
        R-Precision = share of positives among the first R
        MAP@R       = sum of k / r_k over all r_k <= R, divided by R
        mAP         = mean of k / r_k over all R positives
        MRR         = 1 / r_1

    R: number of positives of a query in the gallery; r_k: rank of the k-th of them. Recall@K is also called
    CMC@K; Recall@1 is the accuracy of the nearest neighbour, and equals Precision@1. MAP@R is that of "A
    Metric Learning Reality Check" (arXiv:2003.08505).
    """

    k: Annotated[tuple[_Depth, ...], Field(min_length=1)] = (1, 5, 10)
    """Depths K of Recall@K and Precision@K, at least one."""

    def quantities(self) -> Mapping[str, Quantity]:
        depths = sorted(set(self.k))
        recalls = {
            f"recall_at_{depth}": Quantity(
                f"share of queries with a positive among the first {depth}",
                heading=f"Recall@{depth}" if depth == depths[0] else "",
                headline=depth == depths[0],
            )
            for depth in depths
        }
        precisions = {
            f"precision_at_{depth}": Quantity(f"share of positives among the first {depth}")
            for depth in depths
            if depth > 1
        }
        return {
            **recalls,
            **precisions,
            "r_precision": Quantity("share of positives among the first R, where R is their number"),
            "map_at_r": Quantity("mean average precision over the first R", heading="MAP@R"),
            "map": Quantity("mean average precision over the whole ranking"),
            "mrr": Quantity("mean of 1 / rank of the first positive"),
        }

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """See the class; (Q,) float64 each."""
        import numpy as np

        depths = sorted(set(self.k))
        precision = ranks.places / ranks.ranks
        counts = ranks.counts
        early = ranks.ranks <= np.repeat(counts, counts)
        return {
            **{f"recall_at_{depth}": (ranks.best <= depth).astype(np.float64) for depth in depths},
            **{f"precision_at_{depth}": ranks.within(depth) / depth for depth in depths if depth > 1},
            "r_precision": ranks.within(counts) / counts,
            "map_at_r": ranks.total(np.where(early, precision, 0.0)) / counts,
            "map": ranks.total(precision) / counts,
            "mrr": 1.0 / ranks.best,
        }

"""Retrieval: how early the images of a query's class stand in its ranking of all gallery images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mlbench.contracts import Quantity

if TYPE_CHECKING:
    import numpy as np

    from mlbench.evaluation.ranks import Ranks

__all__ = ["Retrieval", "quantities"]

Depths = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class Retrieval:
    """Recall@K, Precision@K, R-Precision, MAP@R, mAP and MRR, means over queries that have a positive.

    With R positives in the gallery and the k-th of them at rank r_k:
    Recall@K is 1 where r_1 <= K (also called CMC@K; Recall@1 is the accuracy of the nearest neighbour);
    Precision@K the share of positives among the first K, for each K above 1 (at 1 it is Recall@1);
    R-Precision that among the first R; MAP@R the sum of k / r_k over r_k <= R, divided by R ("A Metric
    Learning Reality Check", arXiv:2003.08505); mAP the mean of k / r_k over all R; MRR is 1 / r_1.

    Options
    -------
    k: the depths K, at least one.
    """

    def __init__(self, *, k: Depths = [1, 5, 10]) -> None:  # noqa: B006  (options are never changed)
        self._depths = sorted(set(k))

    def per_query(self, ranks: Ranks) -> Mapping[str, np.ndarray]:
        """See the class; (Q,) float64 each."""
        import numpy as np

        found = {f"recall_at_{depth}": (ranks.best <= depth).astype(np.float64) for depth in self._depths}
        found |= {f"precision_at_{depth}": ranks.within(depth) / depth for depth in self._depths if depth > 1}
        precision = ranks.places / ranks.ranks
        counts = ranks.counts
        early = ranks.ranks <= np.repeat(counts, counts)
        return found | {
            "r_precision": ranks.within(counts) / counts,
            "map_at_r": ranks.total(np.where(early, precision, 0.0)) / counts,
            "map": ranks.total(precision) / counts,
            "mrr": 1.0 / ranks.best,
        }


def quantities(*, k: Depths = [1, 5, 10]) -> dict[str, Quantity]:  # noqa: B006
    """What `Retrieval` measures."""
    depths = sorted(set(k))
    found = {
        f"recall_at_{depth}": Quantity(
            f"share of queries with one of their class among the first {depth}",
            heading=f"Recall@{depth}" if depth == depths[0] else "",
            headline=depth == depths[0],
        )
        for depth in depths
    }
    found |= {
        f"precision_at_{depth}": Quantity(f"share of the query's class among the first {depth}")
        for depth in depths
        if depth > 1
    }
    return found | {
        "r_precision": Quantity("share of the query's class among the first R, the size of the class"),
        "map_at_r": Quantity("mean average precision over the first R", heading="MAP@R"),
        "map": Quantity("mean average precision over the whole ranking"),
        "mrr": Quantity("mean of 1 / rank of the first image of the query's class"),
    }

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.evaluation.ranks import Ranks

rankings = st.lists(st.sets(st.integers(1, 30), min_size=1), min_size=1, max_size=20)


def ranks_from(rankings: list[set[int]]) -> Ranks:
    ranks = [rank for each in rankings for rank in sorted(each)]
    return Ranks(np.array(ranks), np.concatenate([[0], np.cumsum([len(each) for each in rankings])]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rankings, st.integers(1, 31))
def test_ranks_are_separate_for_each_query(rankings: list[set[int]], limit: int) -> None:
    ranks = ranks_from(rankings)
    assert ranks.counts.tolist() == [len(each) for each in rankings]
    assert ranks.best.tolist() == [min(each) for each in rankings]
    assert ranks.places.tolist() == [place + 1 for each in rankings for place in range(len(each))]
    assert ranks.total(ranks.ranks).tolist() == [sum(each) for each in rankings]
    assert ranks.within(limit).tolist() == [sum(rank <= limit for rank in each) for each in rankings]
    assert ranks.within(ranks.counts).tolist() == [
        sum(rank <= len(each) for rank in each) for each in rankings
    ]

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import DataError
from mlbench_datasets.partition import partition

names = st.lists(st.text(max_size=5), min_size=6, max_size=60, unique=True)
shares = st.floats(0.01, 0.49)


@settings(max_examples=60, derandomize=True)
@given(names=names, calibration=shares, test=shares, seed=st.integers(0, 9))
def test_partition_is_one(names: list[str], calibration: float, test: float, seed: int) -> None:
    parts = partition(names, calibration=calibration, test=test, seed=seed)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert min(len(part) for part in parts) >= 2
    assert partition(names[::-1], calibration=calibration, test=test, seed=seed) == parts


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(6, (2, 2, 2)), (8, (4, 2, 2)), (10, (5, 2, 3)), (112, (56, 22, 34)), (1000, (500, 200, 300))],
)
def test_partition_meets_the_shares(count: int, sizes: tuple[int, int, int]) -> None:
    parts = partition([str(i) for i in range(count)], calibration=0.2, test=0.3, seed=0)
    assert tuple(len(part) for part in parts) == sizes


@settings(max_examples=60, derandomize=True)
@given(names=names, seed=st.integers(0, 9))
def test_partition_hardly_moves_when_a_class_is_added(names: list[str], seed: int) -> None:
    before = partition(names, calibration=0.2, test=0.3, seed=seed)
    after = partition([*names, "a new class"], calibration=0.2, test=0.3, seed=seed)
    where_before = {name: i for i, part in enumerate(before) for name in part}
    where_after = {name: i for i, part in enumerate(after) for name in part}
    assert sum(where_before[name] != where_after[name] for name in names) <= 2


def test_partition_differs_by_seed() -> None:
    names = [str(i) for i in range(40)]
    assert (
        len({frozenset(partition(names, calibration=0.2, test=0.3, seed=seed)[2]) for seed in range(5)}) == 5
    )


def test_partition_is_the_same_for_ever() -> None:
    parts = partition([f"class{i}" for i in range(8)], calibration=0.2, test=0.3, seed=0)
    assert parts == ({"class0", "class3", "class4", "class6"}, {"class1", "class5"}, {"class2", "class7"})


def test_partition_needs_two_for_each() -> None:
    with pytest.raises(DataError, match="5 are too few to divide, at least 6"):
        partition(list("abcde"), calibration=0.2, test=0.3, seed=0)

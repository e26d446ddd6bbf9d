"""Choice of classes: exact size, no repetition, uniform at any share."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench_samplers.class_choice import choose_classes, subset


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(0, 9))
def test_subset_has_its_size_ascends_and_stays_in_range(sizes, seed):
    count, size = sizes
    chosen = subset(count, size, generator(seed)).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    assert set(chosen) <= set(range(count))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_subset_gives_every_subset_equally_often(size):
    numbers = generator()
    counts = dict.fromkeys(itertools.combinations(range(5), size), 0)
    for _ in range(3000):
        counts[tuple(subset(5, size, numbers).tolist())] += 1
    expected = 3000 / len(counts)
    # Chi-squared with at most 9 degrees of freedom: 35 is exceeded once in 20,000.
    assert sum((seen - expected) ** 2 / expected for seen in counts.values()) < 35


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.data())
def test_choose_classes_takes_all_positives_once_and_fills_up_with_others(data):
    num_classes = data.draw(st.integers(1, 60))
    positives = sorted(data.draw(st.sets(st.integers(0, num_classes - 1), max_size=20)))
    sampled = data.draw(st.integers(len(positives), num_classes))
    chosen = choose_classes(torch.tensor(positives, dtype=torch.int64), num_classes, sampled, generator())
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == sampled
    assert set(positives) <= set(chosen.tolist()) <= set(range(num_classes))


@pytest.mark.parametrize("sampled", [6, 10, 20])
def test_choose_classes_takes_the_others_evenly(sampled):
    positives, numbers = torch.tensor([0, 3, 7, 24]), generator()
    counts = torch.zeros(25)
    for _ in range(4000):
        counts[choose_classes(positives, 25, sampled, numbers)] += 1
    assert bool((counts[positives] == 4000).all())
    others = counts[[k for k in range(25) if k not in (0, 3, 7, 24)]]
    # Binomial with a standard deviation below 32: five of them.
    assert (others - 4000 * (sampled - 4) / 21).abs().max() < 160


def test_choose_classes_draws_no_more_than_it_samples():
    drawn = []

    class Counting:
        def __init__(self):
            self.numbers = generator()

        def integers(self, count, size):
            drawn.append(size)
            return self.numbers.integers(count, size=size)

        def choice(self, count, size, **options):
            drawn.append(size)
            return self.numbers.choice(count, size, **options)

    assert len(choose_classes(torch.arange(100), 10**9, 20_000, Counting())) == 20_000
    assert sum(drawn) < 1.1 * 20_000

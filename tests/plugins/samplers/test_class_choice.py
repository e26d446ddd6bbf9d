"""Choice of classes: all labels, exact size, no repetition, uniform at any share, static shapes."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench_samplers import class_choice
from mlbench_samplers.class_choice import choose_classes

NONE = torch.empty(0, dtype=torch.int64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["shuffled", "drawn"])
def _method(request, monkeypatch):
    if request.param == "drawn":
        monkeypatch.setattr(class_choice, "_FEW", 0)


@pytest.mark.usefixtures("_method")
def test_choice_takes_all_labels_once_and_fills_up_with_others():
    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.data())
    def check(data):
        num_classes = data.draw(st.integers(1, 60))
        labels = data.draw(st.lists(st.integers(0, num_classes - 1), max_size=20))
        sampled = data.draw(st.integers(max(len(set(labels)), 1), num_classes))
        chosen = choose_classes(
            torch.tensor(labels, dtype=torch.int64), num_classes, sampled, generator(len(labels))
        )
        assert chosen.dtype == torch.int64
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert len(chosen) == sampled
        assert set(labels) <= set(chosen.tolist()) <= set(range(num_classes))

    check()


@pytest.mark.usefixtures("_method")
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_choice_gives_every_subset_equally_often(size):
    numbers = generator()
    counts = dict.fromkeys(itertools.combinations(range(5), size), 0)
    for _ in range(3000):
        counts[tuple(choose_classes(NONE, 5, size, numbers).tolist())] += 1
    expected = 3000 / len(counts)
    # Chi-squared with at most 9 degrees of freedom: 35 is exceeded once in 20,000.
    assert sum((seen - expected) ** 2 / expected for seen in counts.values()) < 35


@pytest.mark.usefixtures("_method")
@pytest.mark.parametrize("sampled", [6, 10, 20])
def test_choice_takes_the_others_evenly(sampled):
    labels, numbers = torch.tensor([24, 0, 3, 0, 7]), generator()
    counts = torch.zeros(25)
    for _ in range(4000):
        counts[choose_classes(labels, 25, sampled, numbers)] += 1
    assert bool((counts[labels] == 4000).all())
    others = counts[[k for k in range(25) if k not in (0, 3, 7, 24)]]
    share = (sampled - 4) / 21
    # Chi-squared with 20 degrees of freedom for draws without replacement: 55 is exceeded once in 20,000.
    variance = 4000 * share * (1 - share) * 21 / 20
    assert ((others - 4000 * share) ** 2 / variance).sum() < 55


def test_choice_is_even_over_many_classes():
    labels, counts = torch.arange(0, 100_000, 1000), torch.zeros(100_000)
    for seed in range(40):
        counts[choose_classes(labels, 100_000, 10_000, generator(seed))] += 1
    assert bool((counts[labels] == 40).all())
    counts[labels] = 0
    share = 9_900 / 99_900
    # In 100 ranges of 1000 classes, 999 of them negatives.
    ranges = counts.view(100, 1000).sum(1)
    variance = 40 * 999 * share * (1 - share)
    # Chi-squared with 99 degrees of freedom: 165 is exceeded once in 20,000.
    assert ((ranges - 40 * 999 * share) ** 2 / variance).sum() < 165


@pytest.mark.parametrize("sampled", [1, 30, 1023, 1024])
def test_draws_give_enough_different_classes(sampled):
    """At the fewest classes and the largest share for which classes are drawn with repetition."""
    for seed in range(50):
        assert len(choose_classes(NONE, 2048, sampled, generator(seed)).unique()) == sampled


def test_choice_keeps_the_first_of_too_many_labels_and_clamps_others():
    assert choose_classes(torch.tensor([8, 3, 8, 5, 1]), 10, 2, generator()).tolist() == [3, 8]
    assert choose_classes(torch.tensor([-7, 99]), 10, 2, generator()).tolist() == [0, 9]


def test_choice_draws_and_sorts_no_more_than_it_needs(monkeypatch):
    sizes = []

    def randint(high, size, **options):
        sizes.append(math.prod(size))
        return draw(high, size, **options)

    draw = torch.randint
    monkeypatch.setattr(torch, "randint", randint)
    chosen = choose_classes(torch.arange(100), 10**9, 20_000, generator())
    assert len(chosen.unique()) == 20_000
    assert choose_classes(torch.arange(100), 2**40, 20_000, generator()).max() > 2**32
    assert max(sizes) < 1.1 * 20_000


def test_choice_depends_on_the_generator():
    choose = partial(choose_classes, torch.tensor([4]), 10_000, 50)
    assert torch.equal(choose(generator(1)), choose(generator(1)))
    assert not torch.equal(choose(generator(1)), choose(generator(2)))

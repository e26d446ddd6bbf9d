"""Batches: which images, how often, and in which order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import OptionError
from mlbench.seeding import numpy_generator
from mlbench_samplers.batches import m_per_class, shuffle


def epoch(sampler, seed=0):
    return list(sampler.batches(numpy_generator(seed, "test")))


@settings(max_examples=50, derandomize=True, deadline=None)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 25))
def test_shuffle_makes_full_batches_of_different_images(size, batch_size):
    sampler = shuffle(np.zeros(size, dtype=np.int64), batch_size)
    batches = epoch(sampler)
    seen = [index for batch in batches for index in batch]
    assert len(batches) == len(sampler) == max(1, size // batch_size)
    assert {len(batch) for batch in batches} == {min(size, batch_size)}
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(size))


def test_shuffle_order_is_new_in_each_epoch_and_the_same_from_the_same_seed():
    sampler = shuffle(np.zeros(100, dtype=np.int64), 10)
    generator = numpy_generator(1, "test")
    first, second = list(sampler.batches(generator)), list(sampler.batches(generator))
    assert first != second
    assert first == epoch(sampler, 1)


def test_shuffle_leaves_no_image_out_for_ever():
    sampler = shuffle(np.zeros(11, dtype=np.int64), 4)
    generator = numpy_generator(0, "epochs")
    seen = {index for _ in range(20) for batch in sampler.batches(generator) for index in batch}
    assert seen == set(range(11))


@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    labels=st.lists(st.integers(0, 9), min_size=20, max_size=80).filter(lambda labels: len(set(labels)) >= 4),
    m=st.integers(2, 5),
    classes=st.integers(1, 4),
)
def test_m_per_class_batches_hold_m_images_of_each_class(labels, m, classes):
    sampler = m_per_class(np.array(labels), classes * m, m=m)
    batches = epoch(sampler)
    available = Counter(labels)
    assert len(batches) == len(sampler) == max(1, len(labels) // (classes * m))
    for batch in batches:
        by_class = Counter(labels[index] for index in batch)
        assert set(by_class.values()) == {m}
        assert len(by_class) == classes
        for index, times in Counter(batch).items():
            fewest = m // available[labels[index]]
            assert max(1, fewest) <= times <= fewest + 1
            assert times == 1 or available[labels[index]] < m


def test_m_per_class_understands_labels_in_any_order():
    labels = np.array([2, 0, 1, 0, 2, 1])
    for batch in epoch(m_per_class(labels, 4, m=2)):
        assert sorted(batch) in ([1, 2, 3, 5], [0, 1, 3, 4], [0, 2, 4, 5])


def test_m_per_class_draws_every_class_and_image():
    labels = np.repeat(np.arange(6), 5)
    seen = Counter(
        index for seed in range(30) for batch in epoch(m_per_class(labels, 8, m=4), seed) for index in batch
    )
    assert set(seen) == set(range(30))
    # 720 draws, 24 of each expected.
    assert min(seen.values()) > 8
    assert max(seen.values()) < 48


def test_m_per_class_is_the_same_from_the_same_seed():
    sampler = m_per_class(np.repeat(np.arange(6), 5), 8, m=4)
    assert epoch(sampler, 3) == epoch(sampler, 3) != epoch(sampler, 4)


@pytest.mark.parametrize(
    ("batch_size", "m", "message"),
    [
        (10, 4, r"m 4 does not divide the batch size 10"),
        (2, 4, r"m 4 does not divide the batch size 2"),
        (16, 2, r"16 images with 2 of each class need 8 classes, and the train split has 6"),
    ],
)
def test_m_per_class_refuses_batches_that_cannot_be(batch_size, m, message):
    with pytest.raises(OptionError, match=message) as caught:
        m_per_class(np.repeat(np.arange(6), 5), batch_size, m=m)
    assert caught.value.option == "m"


@pytest.mark.parametrize("sampler", [shuffle(np.zeros(4), 2), m_per_class(np.zeros(4), 2, m=2)])
def test_batch_samplers_make_lists_of_plain_integers(sampler):
    for batch in epoch(sampler):
        assert type(batch) is list
        assert {type(index) for index in batch} == {int}

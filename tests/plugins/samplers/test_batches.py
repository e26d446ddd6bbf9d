"""Batch samplers: images of a batch, their number and their order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import OptionError
from mlbench.plugin import BatchContext
from mlbench.seeding import numpy_generator
from mlbench_samplers.batches import MPerClass, Repeated, Shuffle, Uniform


def made(options, labels, batch_size):
    return options.build(BatchContext(np.asarray(labels), batch_size))


def predicted(options, labels, batch_size):
    return options.predict(BatchContext(np.asarray(labels).tolist(), batch_size))


def epoch(sampler, seed=0):
    return list(sampler.batches(numpy_generator(seed, "test")))


@settings(max_examples=50, derandomize=True, deadline=None)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 25))
def test_shuffle_makes_full_batches_of_different_images(size, batch_size):
    sampler = made(Shuffle(), np.zeros(size, dtype=np.int64), batch_size)
    batches = epoch(sampler)
    seen = [index for batch in batches for index in batch]
    assert len(batches) == len(sampler) == max(1, size // batch_size)
    assert {len(batch) for batch in batches} == {min(size, batch_size)}
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(size))


def test_shuffle_order_differs_between_epochs_and_repeats_with_the_seed():
    sampler = made(Shuffle(), np.zeros(100, dtype=np.int64), 10)
    generator = numpy_generator(1, "test")
    first, second = list(sampler.batches(generator)), list(sampler.batches(generator))
    assert first != second
    assert first == epoch(sampler, 1)


def test_shuffle_shows_every_image_in_some_epoch():
    sampler = made(Shuffle(), np.zeros(11, dtype=np.int64), 4)
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
    sampler = made(MPerClass(m=m), np.array(labels), classes * m)
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


def test_m_per_class_takes_labels_in_any_order():
    labels = np.array([2, 0, 1, 0, 2, 1])
    for batch in epoch(made(MPerClass(m=2), labels, 4)):
        assert sorted(batch) in ([1, 2, 3, 5], [0, 1, 3, 4], [0, 2, 4, 5])


def test_m_per_class_draws_every_class_and_image():
    labels = np.repeat(np.arange(6), 5)
    seen = Counter(
        index
        for seed in range(30)
        for batch in epoch(made(MPerClass(m=4), labels, 8), seed)
        for index in batch
    )
    assert set(seen) == set(range(30))
    # 720 draws, 24 of each expected.
    assert min(seen.values()) > 8
    assert max(seen.values()) < 48


def test_m_per_class_repeats_with_the_seed():
    sampler = made(MPerClass(m=4), np.repeat(np.arange(6), 5), 8)
    assert epoch(sampler, 3) == epoch(sampler, 3) != epoch(sampler, 4)


@pytest.mark.parametrize(
    ("batch_size", "m", "message"),
    [
        (10, 4, r"m 4 does not divide the batch size 10"),
        (2, 4, r"m 4 does not divide the batch size 2"),
        (16, 2, r"16 images with 2 of each class need 8 classes, and the train split has 6"),
    ],
)
def test_m_per_class_refuses_impossible_batches(batch_size, m, message):
    with pytest.raises(OptionError, match=message) as caught:
        made(MPerClass(m=m), np.repeat(np.arange(6), 5), batch_size)
    assert caught.value.option == "m"


@settings(max_examples=80, derandomize=True, deadline=None)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 25), repeats=st.integers(1, 5))
def test_repeated_images_stand_together_and_come_repeats_times(size, batch_size, repeats):
    labels = np.zeros(size, dtype=np.int64)
    sampler = made(Repeated(repeats=repeats), labels, batch_size)
    batches = epoch(sampler)
    seen = [index for batch in batches for index in batch]
    assert len(batches) == len(sampler) == len(made(Shuffle(), labels, batch_size))
    assert {len(batch) for batch in batches} == {min(size, batch_size)}
    # Every image in one run of `repeats`, except the one that the end of the epoch cuts.
    whole, cut = divmod(len(seen), repeats)
    assert [len(set(seen[at : at + repeats])) for at in range(0, len(seen), repeats)] == [1] * (
        whole + bool(cut)
    )
    assert sorted(Counter(seen).values(), reverse=True) == [repeats] * whole + [cut] * bool(cut)
    shape = predicted(Repeated(repeats=repeats), labels, batch_size)
    assert shape.batches == len(batches)
    assert shape.labels == max(len(set(batch)) for batch in batches)
    assert shape.drawn == len(set(seen)) / size


def test_repeated_selects_the_images_that_timm_selects():
    from timm.data.distributed_sampler import RepeatAugSampler

    theirs = RepeatAugSampler(range(600), num_replicas=1, rank=0, num_repeats=3, selected_round=0)
    ours = made(Repeated(repeats=3), np.zeros(600), 25)

    order = np.array(list(theirs)[::3] + sorted(set(range(600)) - set(theirs)))
    fake = type("Generator", (), {"permutation": lambda self, size: order})()
    assert [index for batch in ours.batches(fake) for index in batch] == list(theirs)


def test_repeated_once_is_shuffle():
    labels = np.zeros(31)
    assert epoch(made(Repeated(repeats=1), labels, 4), 5) == epoch(made(Shuffle(), labels, 4), 5)
    assert predicted(Repeated(repeats=1), labels, 4).labels == 4


def test_repeated_shows_different_images_in_each_epoch():
    sampler = made(Repeated(), np.zeros(30), 10)
    generator = numpy_generator(0, "epochs")
    epochs = [{index for batch in sampler.batches(generator) for index in batch} for _ in range(30)]
    assert {len(seen) for seen in epochs} == {10}
    assert set().union(*epochs) == set(range(30))


class Enumerated:
    """A generator that returns every number in turn instead of random ones."""

    def __init__(self):
        self.drawn = 0

    def integers(self, high, size=None):
        if size is None:
            return np.array([self.next(each) for each in high])
        return np.array([self.next(high) for _ in range(size)])

    def next(self, high):
        self.drawn += 1
        return (self.drawn - 1) % high


def test_uniform_draws_each_image_equally_often():
    (batch,) = made(Uniform(steps=1), np.zeros(7), 21).batches(Enumerated())
    assert set(Counter(batch).values()) == {3}
    assert set(batch) == set(range(7))


def test_uniform_by_class_draws_classes_of_any_size_equally_often():
    labels = np.array([5, 2, 5, 5, 9, 5, 2])
    generator = Enumerated()
    batches = list(made(Uniform(steps=3, by="class"), labels, 12).batches(generator))
    for batch in batches:
        assert Counter(labels[batch].tolist()) == {2: 4, 5: 4, 9: 4}
    assert {index for batch in batches for index in batch} == set(range(7))


def test_uniform_reaches_every_image_and_repeats_some():
    seen = Counter(index for batch in epoch(made(Uniform(steps=60), np.zeros(20), 10)) for index in batch)
    # 600 draws, 30 of each expected.
    assert set(seen) == set(range(20))
    assert 14 < min(seen.values()) <= max(seen.values()) < 48


@pytest.mark.parametrize("by", ["image", "class"])
@pytest.mark.parametrize(("size", "steps", "batches"), [(50, None, 5), (3, None, 1), (3, 40, 40)])
def test_uniform_has_the_given_number_of_full_batches(by, size, steps, batches):
    labels = np.arange(size) % 3
    sampler = made(Uniform(steps=steps, by=by), labels, 10)
    assert [len(batch) for batch in epoch(sampler)] == [10] * batches
    assert len(sampler) == predicted(Uniform(steps=steps, by=by), labels.tolist(), 10).batches == batches
    if steps is None:
        assert batches == predicted(Shuffle(), labels.tolist(), 10).batches


@pytest.mark.parametrize("by", ["image", "class"])
def test_uniform_repeats_with_the_seed(by):
    sampler = made(Uniform(by=by), np.arange(30) % 7, 8)
    assert epoch(sampler, 3) == epoch(sampler, 3) != epoch(sampler, 4)


@pytest.mark.parametrize(
    "sampler",
    [
        made(Shuffle(), np.zeros(4), 2),
        made(MPerClass(m=2), np.zeros(4), 2),
        made(Repeated(), np.zeros(4), 2),
        made(Uniform(), np.zeros(4), 2),
        made(Uniform(by="class"), np.zeros(4), 2),
    ],
)
def test_batch_samplers_make_lists_of_plain_integers(sampler):
    for batch in epoch(sampler):
        assert type(batch) is list
        assert {type(index) for index in batch} == {int}

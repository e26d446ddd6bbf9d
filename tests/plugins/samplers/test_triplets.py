"""Batches of triplets: rows, number, and the epochs with mining."""

from collections import Counter

import numpy as np
import pytest

from mlbench.errors import OptionError, TrainingError
from mlbench.plugin import BatchContext, BatchesShape
from mlbench.seeding import numpy_generator
from mlbench_samplers.triplets import HardTriplets

LABELS = np.array([0, 0, 0, 1, 1, 1])
HARD = [(3, 5, 0), (3, 5, 1), (3, 5, 2), (5, 3, 2)]  # of the angles below, see test_mining


def hard_triplets(labels, batch_size, embed, **options):
    return HardTriplets(**options).build(BatchContext(labels, batch_size, embed))


def plane(*angles):
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def confused():
    return plane(0, 10, 52, 41, 90, 103)


def told_apart():
    return plane(0, 1, 2, 90, 91, 92)


class Model:
    """Embeds differently in each call."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self):
        return self.answers.pop(0)()


def epoch(sampler, generator=None):
    return list(sampler.batches(generator or numpy_generator(0, "test")))


def triplets_of(batches):
    rows = [row for batch in batches for row in batch]
    return list(zip(rows[::3], rows[1::3], rows[2::3], strict=True))


def test_rows_are_anchor_positive_negative():
    sampler = hard_triplets(LABELS, 6, confused, triplets=4)
    batches = epoch(sampler)
    assert [len(batch) for batch in batches] == [6, 6]
    assert {type(index) for batch in batches for index in batch} == {int}
    assert sorted(triplets_of(batches)) == HARD


@pytest.mark.parametrize("mining", ["hard", "random"])
def test_too_few_triplets_for_an_epoch_are_repeated_evenly(mining):
    sampler = hard_triplets(LABELS, 3, confused, mining=mining, per_anchor=2, triplets=30)
    counts = Counter(triplets_of(epoch(sampler)))
    available = {"hard": 3, "random": 12}[mining]  # at most two of an anchor
    assert len(counts) == available
    assert set(counts.values()) <= {30 // available, 30 // available + 1}


def test_an_epoch_shows_a_random_selection_of_more_triplets():
    sampler = hard_triplets(LABELS, 3, confused, triplets=2)
    generator = numpy_generator(0, "epochs")
    epochs = [triplets_of(epoch(sampler, generator)) for _ in range(30)]
    assert {len(set(each)) for each in epochs} == {2}
    assert {triplet for each in epochs for triplet in each} == set(HARD)
    assert len(sampler.notes) == 1


@pytest.mark.parametrize(("refresh", "mined"), [(0, [1]), (1, [1, 2, 3, 4, 5]), (2, [1, 3, 5])])
@pytest.mark.parametrize("mining", ["hard", "random"])
def test_triplets_are_mined_every_refresh_epochs(refresh, mined, mining):
    asked = []

    def embed():
        asked.append(len(sampler.notes))
        return confused()

    sampler = hard_triplets(LABELS, 3, embed, mining=mining, refresh=refresh)
    for _ in range(5):
        epoch(sampler)
    prefixes = [note.partition(": ")[0] for note in sampler.notes]
    assert prefixes == [f"batch sampler hard_triplets, epoch {number}" for number in mined]
    assert len(asked) == (len(mined) if mining == "hard" else 0)


def test_mining_uses_the_current_model():
    other = plane(41, 90, 103, 0, 10, 52)  # the classes have changed places
    sampler = hard_triplets(LABELS, 3, Model(confused, lambda: other), refresh=1, triplets=4)
    assert sorted(triplets_of(epoch(sampler))) == HARD
    assert sorted(triplets_of(epoch(sampler))) == [(0, 2, 3), (0, 2, 4), (0, 2, 5), (2, 0, 5)]


def test_notes_describe_each_mining():
    sampler = hard_triplets(LABELS, 3, confused)
    epoch(sampler)
    assert sampler.notes == [
        "batch sampler hard_triplets, epoch 1: 4 hard triplets; 2 of 6 images are anchors; the others have "
        "no hard positive or no hard negative and never train as anchors (distance t* 0.5305 with the best "
        "F1, 0.7059)"
    ]


def test_a_first_mining_without_triplets_is_refused():
    with pytest.raises(TrainingError, match=r"0 hard triplets; .*; set mining: random$"):
        epoch(hard_triplets(LABELS, 3, told_apart))


def test_a_later_mining_without_triplets_keeps_the_earlier_ones():
    sampler = hard_triplets(LABELS, 3, Model(confused, told_apart, confused), refresh=1, triplets=4)
    assert sorted(triplets_of(epoch(sampler))) == sorted(triplets_of(epoch(sampler))) == HARD
    epoch(sampler)
    assert [note.endswith("; the earlier triplets stay in use") for note in sampler.notes] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("mining", ["hard", "random"])
def test_triplets_repeat_with_the_seed(mining):
    def batches(seed):
        sampler = hard_triplets(LABELS, 3, confused, mining=mining, per_anchor=2, triplets=20)
        return epoch(sampler, numpy_generator(seed, "test"))

    assert batches(1) == batches(1) != batches(2)


@pytest.mark.parametrize(
    ("images", "batch_size", "triplets", "batches"),
    [(60, 12, None, 5), (60, 12, 4000, 1000), (60, 12, 11, 2), (6, 12, None, 1), (6, 12, 4, 1)],
)
def test_length_of_an_epoch_is_known_before_mining(images, batch_size, triplets, batches):
    labels = np.arange(images) % 2
    assert len(hard_triplets(labels, batch_size, None, triplets=triplets)) == batches
    predicted = HardTriplets(triplets=triplets).predict(BatchContext(labels.tolist(), batch_size))
    assert predicted == BatchesShape(batches, 8, 4, 8, triplets=True)
    made = epoch(hard_triplets(labels, batch_size, None, mining="random", triplets=triplets))
    assert [len(batch) for batch in made] == [batch_size] * batches


@pytest.mark.parametrize("method", ["build", "predict"])
@pytest.mark.parametrize(
    ("labels", "batch_size", "options", "message", "option"),
    [
        (
            [0, 0, 1],
            32,
            {},
            r"batch size 32 is no multiple of 3 .* batch_size to 30 or 33$",
            "",
        ),
        ([0, 0, 1], 2, {}, r"batch size 2 is no multiple of 3 .* batch_size to 3$", ""),
        ([0, 0, 0], 3, {}, r"no triplet \(classes: 1, images of the largest: 3\); expected 2 classes", ""),
        ([0, 1, 2], 3, {}, r"no triplet \(classes: 3, images of the largest: 1\); .* more in one$", ""),
        (
            [0, 0, 1],
            30,
            {"triplets": 9},
            r"9 triplets do not fill .* 30 images; .* least 10",
            "triplets",
        ),
    ],
)
def test_impossible_batches_are_refused(method, labels, batch_size, options, message, option):
    with pytest.raises(OptionError, match=message) as caught:
        getattr(HardTriplets(**options), method)(BatchContext(np.array(labels), batch_size))
    assert caught.value.option == option

"""Batches of triplets: their rows, their number, and when they are mined."""

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
    """What embeds differently each time."""

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
def test_fewer_triplets_than_an_epoch_needs_are_drawn_again_evenly(mining):
    sampler = hard_triplets(LABELS, 3, confused, mining=mining, per_anchor=2, triplets=30)
    counts = Counter(triplets_of(epoch(sampler)))
    available = {"hard": 3, "random": 12}[mining]  # at most two of an anchor
    assert len(counts) == available
    assert set(counts.values()) <= {30 // available, 30 // available + 1}


def test_of_more_triplets_an_epoch_shows_a_random_selection():
    sampler = hard_triplets(LABELS, 3, confused, triplets=2)
    generator = numpy_generator(0, "epochs")
    epochs = [triplets_of(epoch(sampler, generator)) for _ in range(30)]
    assert {len(set(each)) for each in epochs} == {2}
    assert {triplet for each in epochs for triplet in each} == set(HARD)
    assert len(sampler.notes) == 1


@pytest.mark.parametrize(("refresh", "mined"), [(0, [1]), (1, [1, 2, 3, 4, 5]), (2, [1, 3, 5])])
@pytest.mark.parametrize("mining", ["hard", "random"])
def test_triplets_are_mined_anew_when_it_is_due(refresh, mined, mining):
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


def test_the_triplets_of_an_epoch_are_those_of_the_model_as_it_is():
    other = plane(41, 90, 103, 0, 10, 52)  # the classes have changed places
    sampler = hard_triplets(LABELS, 3, Model(confused, lambda: other), refresh=1, triplets=4)
    assert sorted(triplets_of(epoch(sampler))) == HARD
    assert sorted(triplets_of(epoch(sampler))) == [(0, 2, 3), (0, 2, 4), (0, 2, 5), (2, 0, 5)]


def test_notes_say_what_was_mined():
    sampler = hard_triplets(LABELS, 3, confused)
    epoch(sampler)
    assert sampler.notes == [
        "batch sampler hard_triplets, epoch 1: 4 hard triplets; 2 of 6 images are anchors; the others have "
        "no hard positive or no hard negative and never train as anchors (distance t* 0.5305 with the best "
        "F1, 0.7059)"
    ]


def test_a_model_without_hard_triplets_cannot_begin():
    with pytest.raises(TrainingError, match=r"0 hard triplets; .*; set mining: random$"):
        epoch(hard_triplets(LABELS, 3, told_apart))


def test_a_model_that_has_learnt_them_all_goes_on_with_those_of_before():
    sampler = hard_triplets(LABELS, 3, Model(confused, told_apart, confused), refresh=1, triplets=4)
    assert sorted(triplets_of(epoch(sampler))) == sorted(triplets_of(epoch(sampler))) == HARD
    epoch(sampler)
    assert [note.endswith("; the earlier triplets stay in use") for note in sampler.notes] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("mining", ["hard", "random"])
def test_triplets_are_the_same_from_the_same_seed(mining):
    def batches(seed):
        sampler = hard_triplets(LABELS, 3, confused, mining=mining, per_anchor=2, triplets=20)
        return epoch(sampler, numpy_generator(seed, "test"))

    assert batches(1) == batches(1) != batches(2)


@pytest.mark.parametrize(
    ("images", "batch_size", "triplets", "batches"),
    [(60, 12, None, 5), (60, 12, 4000, 1000), (60, 12, 11, 2), (6, 12, None, 1), (6, 12, 4, 1)],
)
def test_length_of_an_epoch_is_known_before_anything_is_mined(images, batch_size, triplets, batches):
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
def test_batches_that_cannot_be_are_refused(method, labels, batch_size, options, message, option):
    with pytest.raises(OptionError, match=message) as caught:
        getattr(HardTriplets(**options), method)(BatchContext(np.array(labels), batch_size))
    assert caught.value.option == option

"""Expected pairs and images of batches, against the means of many batches."""

from collections import Counter

import numpy as np
import pytest

from mlbench.plugin import BatchContext
from mlbench.seeding import numpy_generator
from mlbench_samplers.batches import MPerClass, Repeated, Shuffle, Uniform

#: Classes of unequal sizes, two of one image.
LABELS = np.repeat(np.arange(7), (10, 6, 4, 2, 2, 1, 1))


def predicted(options, labels, batch_size):
    return options.predict(BatchContext(labels, batch_size))


@pytest.mark.parametrize(
    ("options", "batch_size"),
    [
        (Shuffle(), 8),
        (Shuffle(), 64),
        (Repeated(repeats=3), 8),
        (Uniform(), 8),
        (Uniform(by="class"), 8),
        (MPerClass(m=2), 8),
        (MPerClass(m=3), 6),
    ],
)
def test_expected_pairs_and_images_are_the_mean_of_many_epochs(options, batch_size) -> None:
    sampler = options.build(BatchContext(LABELS, batch_size))
    shape = predicted(options, LABELS.tolist(), batch_size)
    positives, negatives, drawn = [], [], []
    for epoch in range(400):
        made = list(sampler.batches(numpy_generator(0, "batches", epoch)))
        drawn.append(len({index for batch in made for index in batch}) / len(LABELS))
        for batch in made:
            same = sum(count * (count - 1) // 2 for count in Counter(LABELS[batch].tolist()).values())
            positives.append(same)
            negatives.append(len(batch) * (len(batch) - 1) // 2 - same)
    assert shape.positives == pytest.approx(np.mean(positives), rel=0.05)
    assert shape.negatives == pytest.approx(np.mean(negatives), rel=0.05)
    assert shape.drawn == pytest.approx(np.mean(drawn), rel=0.02)


def test_one_image_a_class_makes_no_positive_pair() -> None:
    assert predicted(Shuffle(), list(range(50)), 10).positives == 0


def test_m_images_of_one_class_make_no_negative_pair() -> None:
    shape = predicted(MPerClass(m=8), LABELS.tolist(), 8)
    assert (shape.positives, shape.negatives, shape.grouped) == (28, 0, (1, 8))


def test_m_per_class_draws_few_images_of_a_large_class() -> None:
    labels = [0] * 10_000 + [label for label in range(1, 101) for _ in range(4)]
    assert predicted(MPerClass(m=4), labels, 64).drawn < 0.05
    assert predicted(Shuffle(), labels, 64).drawn > 0.99

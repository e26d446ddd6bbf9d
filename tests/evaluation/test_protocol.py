from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.evaluation.embeddings import Embeddings
from mlbench.evaluation.evaluate import Engine, Measure, Threshold, evaluate
from mlbench.evaluation.protocol import against, described, is_grouped
from mlbench_metrics.retrieval import Retrieval
from mlbench_metrics.verification import Verification

MEASURES = [Measure(each, each.quantities()) for each in (Retrieval(k=(1,)), Verification())]


def sets(seed: int, *, grouped: bool) -> tuple[Embeddings, Embeddings]:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(6, 5))
    made = []
    for name, count in (("test", 23), ("train", 31)):
        labels = generator.integers(0, 5, count) + (name == "train")  # a class on either side alone
        vectors = (centres[labels] + generator.normal(size=(count, 5))).astype(np.float32)
        groups = generator.integers(-1, 3, count) if grouped else None
        made.append(replace(Embeddings.of(vectors, labels, name), groups=groups))
    return made[0], made[1]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_every_query_is_compared_with_the_whole_gallery_and_nothing_else(
    seed: int, grouped: bool, on_torch: bool
) -> None:
    test, train = sets(seed, grouped=grouped)
    sides = [test, train]
    if on_torch:
        sides = [replace(each, vectors=torch.from_numpy(each.vectors)) for each in sides]
    engine = Engine(resamples=0, threads=1)
    found = evaluate(against(*sides), Threshold(0.25), MEASURES, np.random.default_rng(0), engine)
    units = [each.vectors / np.linalg.norm(each.vectors, axis=1, keepdims=True) for each in (test, train)]
    scores = units[0] @ units[1].T
    same = test.labels[:, None] == train.labels[None]
    pair = np.ones_like(same)
    if grouped:
        pair &= ~(same & (test.groups[:, None] == train.groups[None]) & (test.groups >= 0)[:, None])
    hits, asked = 0, 0
    for row in range(len(test)):
        if (pair[row] & same[row]).any():
            asked += 1
            hits += same[row][np.argmax(np.where(pair[row], scores[row], -9))]
    assert found.metrics["recall_at_1"].value == pytest.approx(hits / asked)
    facts = found.facts
    assert (facts["queries"], facts["queries_without_positive"]) == (len(test), len(test) - asked)
    assert facts["positive_pairs"] == (pair & same).sum()
    assert facts["negative_pairs"] == (~same).sum()
    assert found.metrics["recall"].value == pytest.approx(
        (scores[pair & same] >= 0.25).sum() / (pair & same).sum()
    )


def test_the_protocol_is_told_in_words() -> None:
    test, train = sets(0, grouped=False)
    classes = [len(set(each.labels)) for each in (test, train)]
    assert described(test) == f"leave one out among 23 test images of {classes[0]} classes"
    text = described(against(test, train))
    sizes = np.bincount(train.labels)[1:]
    assert text == (
        f"closed set: 23 test queries of {classes[0]} classes against 31 train gallery images of "
        f"{classes[1]} classes ({sizes.min()} to {sizes.max()} a class)"
    )
    roles = Embeddings(np.ones((3, 2)), np.array([0, 0, 1]), *np.array([[1, 0, 0], [0, 1, 1]], bool), "test")
    assert described(roles) == (
        "1 test query of 1 class against 2 test gallery images of 2 classes (1 a class)"
    )


def test_groups_are_told_where_images_share_one() -> None:
    sample = Embeddings.of(np.ones((4, 2)), np.array([0, 0, 1, 1]), "test")
    alone, shared = (replace(sample, groups=np.array(each)) for each in ([-1, 2, 3, -1], [-1, 2, 2, -1]))
    assert [is_grouped(each) for each in (sample, alone, shared)] == [False, False, True]
    assert described(alone) == described(sample)
    assert described(shared) == f"{described(sample)}; images of one class and group are no pair"


def test_a_set_without_groups_joins_one_that_has_them() -> None:
    test, train = sets(0, grouped=True)
    joined = against(replace(test, groups=None), train)
    assert joined.groups.tolist() == [-1] * len(test) + train.groups.tolist()
    assert against(replace(test, groups=None), replace(train, groups=None)).groups is None

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import DataError
from mlbench.evaluation.all_pairs import AllPairs
from mlbench.evaluation.embeddings import Embeddings


def pairs_of(labels, queries=None, gallery=None, groups=None) -> AllPairs:
    labels = np.asarray(labels)
    everyone = np.ones(len(labels), bool)
    queries = everyone if queries is None else np.asarray(queries, bool)
    gallery = everyone if gallery is None else np.asarray(gallery, bool)
    vectors = np.ones((len(labels), 2))
    return AllPairs.of(Embeddings(vectors, labels, queries, gallery, "test", groups=groups))


@st.composite
def possible_pairs(draw: st.DrawFn) -> tuple[AllPairs, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs with at least one positive and one negative, with labels and roles."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, classes = draw(st.integers(3, 40)), draw(st.integers(2, 12))
    while True:
        labels = generator.integers(classes, size=count) * 5 - 7
        queries, gallery = generator.random((2, count)) < generator.choice([0.6, 2.0])
        try:
            return pairs_of(labels, queries, gallery), labels, queries, gallery
        except DataError:
            continue


@settings(max_examples=200, deadline=None, derandomize=True)
@given(possible_pairs())
def test_pairs_count_every_ordered_pair(drawn: tuple) -> None:
    pairs, labels, queries, gallery = drawn
    ordered = [
        (i, j)
        for i, j in itertools.product(range(len(labels)), repeat=2)
        if queries[i] and gallery[j] and i != j
    ]
    positives = [(i, j) for i, j in ordered if labels[i] == labels[j]]
    assert (pairs.positives, pairs.negatives) == (len(positives), len(ordered) - len(positives))
    assert pairs.negatives > 0
    assert pairs.mirrored == (queries.tolist() == gallery.tolist())
    assert pairs.classes.tolist() == sorted(set(labels[queries | gallery].tolist()))
    for at, image in enumerate(pairs.queries.images):
        own = pairs.offsets[at + 1] - pairs.offsets[at]
        assert own == sum(i == image for i, _ in positives)
    of_class = [
        sum((labels[i] == label) + (labels[j] == label) for i, j in ordered if labels[i] != labels[j])
        for label in pairs.classes
    ]
    assert pairs.negatives_by_class().tolist() == of_class


@settings(max_examples=200, deadline=None, derandomize=True)
@given(possible_pairs())
def test_queries_and_gallery_are_ordered_by_class(drawn: tuple) -> None:
    pairs, labels, queries, gallery = drawn
    for ordered, member in ((pairs.queries, queries), (pairs.gallery, gallery)):
        assert sorted(ordered.images) == np.flatnonzero(member).tolist()
        assert pairs.classes[ordered.labels].tolist() == labels[ordered.images].tolist()
        for label in range(len(pairs.classes)):
            assert (ordered.labels[ordered.first[label] : ordered.first[label + 1]] == label).all()
        assert ordered.first[-1] == len(ordered)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(possible_pairs(), st.integers(1, 12), st.data())
def test_positive_blocks_hold_every_positive_once(drawn: tuple, side: int, data: st.DataObject) -> None:
    pairs = drawn[0]
    start = data.draw(st.integers(0, len(pairs.queries)))
    end = data.draw(st.integers(start, len(pairs.queries)))
    seen = np.zeros((len(pairs.queries), len(pairs.gallery)), int)
    for block in pairs.positive_blocks(start, end, side):
        assert start <= block.top < block.bottom <= end
        assert block.bottom - block.top <= side
        for left, right in block.columns:
            assert 0 < right - left <= side
            seen[block.top : block.bottom, left:right] += 1
    assert seen.max(initial=0) <= 1
    same = pairs.queries.labels[:, None] == pairs.gallery.labels[None]
    same[:start] = same[end:] = False
    assert (seen[same] == 1).all()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(possible_pairs(), st.integers(0, 60), st.data())
def test_query_ranges_hold_a_limited_number_of_positives_or_one_query(
    drawn: tuple, most: int, data: st.DataObject
) -> None:
    pairs = drawn[0]
    first = data.draw(st.integers(0, len(pairs.queries) - 1))
    last = data.draw(st.none() | st.integers(first + 1, len(pairs.queries)))
    ranges = list(pairs.query_ranges(most, first, last))
    assert [start for start, _ in ranges] == [first, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == (last or len(pairs.queries))
    for start, end in ranges:
        assert end == start + 1 or pairs.offsets[end] - pairs.offsets[start] <= most


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_images_of_one_class_and_group_are_not_a_pair(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(3, 40))
    labels, groups = generator.integers(0, 4, count), generator.integers(-2, 3, count) * 7
    queries, gallery = generator.random((2, count)) < generator.choice([0.6, 2.0])
    left_out = (labels[:, None] == labels) & (groups[:, None] == groups) & (groups >= 0)
    ordered = queries[:, None] & gallery & ~left_out & ~np.eye(count, dtype=bool)
    same = ordered & (labels[:, None] == labels)
    if not same.any() or same.all() or len(set(labels[queries | gallery])) < 2:
        with pytest.raises(DataError):
            pairs_of(labels, queries, gallery, groups)
        return
    pairs = pairs_of(labels, queries, gallery, groups)
    assert np.diff(pairs.offsets).tolist() == same.sum(1)[pairs.queries.images].tolist()
    # Images of two classes are compared, whatever their groups.
    assert pairs.negatives == pairs_of(labels, queries, gallery).negatives == (ordered & ~same).sum()


def test_classes_of_one_group_each_are_refused() -> None:
    with pytest.raises(DataError, match="no query has another image of its class outside of its group"):
        pairs_of([0, 0, 1, 1], groups=np.array([5, 5, 6, 6]))


def test_whole_classes_share_a_block() -> None:
    blocks = list(pairs_of(np.repeat(np.arange(6), 3)).positive_blocks(0, 18, 9))
    assert [(each.top, each.bottom, each.columns) for each in blocks] == [
        (0, 9, ((0, 9),)),
        (9, 18, ((9, 18),)),
    ]


@pytest.mark.parametrize(
    ("labels", "queries", "gallery", "message"),
    [
        ([], None, None, "test: 0 class; at least 2"),
        ([4, 4, 4], None, None, "test: 1 class; at least 2"),
        ([0, 1, 2], None, None, "there is no positive pair"),
        ([0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], "there is no positive pair"),
        ([0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], "there is no positive pair"),
        ([0, 0, 1], [1, 0, 0], [1, 1, 0], "test: 1 class; at least 2"),
    ],
)
def test_all_pairs_refuses_embeddings_without_a_positive_or_negative_pair(
    labels, queries, gallery, message
) -> None:
    with pytest.raises(DataError) as raised:
        pairs_of(labels, queries, gallery)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("seed", range(5))
def test_negatives_in_both_orders_are_counted(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, 30)
    queries, gallery = generator.random(30) < 0.7, generator.random(30) < 0.7
    pairs = pairs_of(labels, queries, gallery)
    both = queries & gallery
    naive = sum(both[a] and both[b] and labels[a] != labels[b] for a in range(30) for b in range(a + 1, 30))
    assert pairs.repeated_negatives == naive

"""The triplet loss with a pair term, against loops and angles computed by hand."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances, losses, reducers

from mlbench.plugin import CentreLoss, LossContext, LossShape, MixedLoss, PairLoss, TrainingError
from mlbench_losses.pairs import TripletPair

KINDS = ["rows", "all", "hard"]
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 0])


def at(*degrees):
    """Embeddings at these angles, of different lengths."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.linspace(0.5, 3, len(degrees), dtype=torch.float64).unsqueeze(1)
    return lengths * torch.stack([angles.cos(), angles.sin()], dim=1)


def naive(embeddings, labels, margin, weight, triplets):
    units = torch.nn.functional.normalize(embeddings)
    d = 1 - units @ units.T
    count = len(labels)
    if triplets == "rows":
        chosen = [(i, i + 1, i + 2) for i in range(0, count, 3)]
    else:
        chosen = [
            (a, p, n)
            for a, p, n in itertools.product(range(count), repeat=3)
            if a != p and labels[a] == labels[p] and labels[a] != labels[n]
        ]
    if triplets == "hard":
        anchors = sorted({a for a, _, _ in chosen})
        far = {a: max((p for b, p, _ in chosen if a == b), key=lambda p, a=a: d[a, p]) for a in anchors}
        near = {a: min((n for b, _, n in chosen if a == b), key=lambda n, a=a: d[a, n]) for a in anchors}
        chosen = [(a, far[a], near[a]) for a in anchors]
    if not chosen:
        return torch.zeros((), dtype=embeddings.dtype)
    hinges = [(d[a, p] - d[a, n] + margin).clamp_min(0) for a, p, n in chosen]
    return torch.stack(hinges).mean() + weight * torch.stack([d[a, p] for a, p, _ in chosen]).mean()


def test_triplet_pair_is_a_pair_loss():
    loss = TripletPair()
    assert isinstance(loss, PairLoss)
    assert loss.build(LossContext(3, 4)) is loss  # it has no state
    assert not isinstance(loss, CentreLoss | MixedLoss)
    assert (loss.margin, loss.pair_weight, loss.triplets) == (0.38, 0.25, "all")
    assert TripletPair().predict(LossContext(3, 4)) == LossShape(needs=("positives", "negatives"))
    assert TripletPair(triplets="rows").predict(LossContext(3, 4)).needs == (
        "positives",
        "negatives",
        "triplets",
    )


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_by_hand(triplets):
    """Anchor at 0, positive at 60, negative at 90 degrees, 30 from the positive as an anchor."""
    loss = TripletPair(margin=0.6, pair_weight=0.25, triplets=triplets)
    own, other = 1 - 0.5 - 1 + 0.6, 1 - 0.5 - (1 - math.cos(math.pi / 6)) + 0.6
    expected = (own if triplets == "rows" else (own + other) / 2) + 0.25 * 0.5
    assert loss(at(0, 60, 90), torch.tensor([4, 4, 7])).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_is_zero_for_equal_positives_and_far_negatives(triplets):
    loss = TripletPair(margin=0.9, pair_weight=1.0, triplets=triplets)
    assert loss(at(20, 20, 120), torch.tensor([0, 0, 1])).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_is_zero_for_a_negative_exactly_at_the_margin(triplets):
    loss = TripletPair(margin=0.0, pair_weight=0.0, triplets=triplets)
    embeddings = at(0, 40, 40)
    embeddings[2] = embeddings[1]
    value = loss(embeddings, torch.tensor([0, 0, 1])).item()
    # With the positive as the anchor, the negative is at distance 0.
    assert value == pytest.approx(
        0 if triplets == "rows" else (1 - math.cos(math.radians(40))) / 2, abs=1e-12
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_triplet_pair_equals_a_loop_over_triplets(data):
    triplets = data.draw(st.sampled_from(KINDS))
    if triplets == "rows":
        labels = torch.tensor([0, 0, 1, 2, 2, 0, 1, 1, 2][: 3 * data.draw(st.integers(1, 3))])
    else:
        labels = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=9)))
    margin, weight = (
        data.draw(st.sampled_from([0.0, 0.2, 0.38, 3.0])),
        data.draw(st.sampled_from([0.0, 0.25])),
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    embeddings = torch.randn(len(labels), 4, generator=generator, dtype=torch.float64)
    loss = TripletPair(margin=margin, pair_weight=weight, triplets=triplets)
    leaves = [embeddings.clone().requires_grad_() for _ in range(2)]
    got, expected = loss(leaves[0], labels), naive(leaves[1], labels, margin, weight, triplets)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    got.backward()
    if expected.requires_grad:
        expected.backward()
        torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-8, atol=1e-10)
    else:
        assert not leaves[0].grad.any()


def test_triplet_pair_without_its_pair_term_is_pytorch_metric_learnings():
    embeddings = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = losses.TripletMarginLoss(
        margin=0.3, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer()
    )
    ours = TripletPair(margin=0.3, pair_weight=0.0)
    torch.testing.assert_close(ours(embeddings, LABELS), theirs(embeddings, LABELS))


def test_triplet_pair_of_a_large_batch_stays_accurate_in_float32():
    embeddings = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(300) % 60
    loss = TripletPair()
    torch.testing.assert_close(
        loss(embeddings, labels), loss(embeddings.double(), labels).float(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("triplets", ["all", "hard"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1], [5]])
def test_triplet_pair_without_a_triplet_is_zero_with_a_gradient(triplets, labels):
    leaf = torch.randn(len(labels), 4, requires_grad=True)
    value = TripletPair(triplets=triplets)(leaf, torch.tensor(labels))
    value.backward()
    assert value == 0
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_does_not_depend_on_lengths_or_class_numbers(triplets):
    embeddings = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, 2, 0, 1, 1, 2])
    loss = TripletPair(triplets=triplets)
    lengths = torch.linspace(0.1, 9, 9, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(loss(embeddings * lengths, labels), loss(embeddings, labels))
    torch.testing.assert_close(loss(embeddings, 50 - 7 * labels), loss(embeddings, labels))


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_gradient_passes_gradcheck(triplets):
    leaf = torch.randn(6, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 1, 0])
    loss = TripletPair(triplets=triplets)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), leaf.requires_grad_())


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_under_autocast_computes_in_float32(triplets):
    leaf = torch.randn(6, 4, generator=torch.Generator().manual_seed(5)).bfloat16()
    labels = torch.tensor([0, 0, 1, 1, 1, 0])
    loss = TripletPair(triplets=triplets)
    expected = loss(leaf.float(), labels)
    leaf.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(leaf, labels)
    assert torch.equal(value, expected)
    value.backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("triplets", KINDS)
def test_triplet_pair_is_finite_for_equal_opposite_and_zero_embeddings(triplets):
    leaf = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [0, 0], [0, 0], [1, 0]], requires_grad=True)
    value = TripletPair(triplets=triplets)(leaf, torch.tensor([0, 0, 1, 1, 1, 0]))
    value.backward()
    assert value.isfinite()
    assert leaf.grad.isfinite().all()


def test_triplet_rows_refuse_a_batch_that_is_not_made_of_triplets():
    with pytest.raises(TrainingError, match=r"a batch of 4 .* multiple of 3"):
        TripletPair(triplets="rows")(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize("wrong", [[1, 2, 3], [1, 1, 1], [1, 2, 1]])
def test_triplet_rows_refuse_labels_that_are_no_triplets(wrong):
    with pytest.raises(TrainingError, match=rf"rows 3 to 5 .* {re.escape(str(wrong))}; expected anchor"):
        TripletPair(triplets="rows")(torch.randn(6, 2), torch.tensor([0, 0, 1, *wrong]))

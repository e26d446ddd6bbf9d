"""Losses of pytorch-metric-learning, against angles computed by hand."""

import math

import pytest
import torch
from pytorch_metric_learning import losses, miners

from mlbench.plugin import CentreLoss, LossContext, LossShape, PairLoss, TrainingError
from mlbench_losses.pairs import Contrastive, MultiSimilarity, ProxyAnchor, SupCon

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
CONTEXT = LossContext(3, 4)
OPTIONS = {
    "contrastive": Contrastive(),
    "multi_similarity": MultiSimilarity(),
    "proxy_anchor": ProxyAnchor(),
    "supcon": SupCon(),
}
each_loss = pytest.mark.parametrize("name", OPTIONS)


def built(name):
    torch.manual_seed(0)
    return OPTIONS[name].build(CONTEXT)


def at(*degrees):
    """Embeddings at these angles, of different lengths."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.linspace(0.5, 3, len(degrees), dtype=torch.float64).unsqueeze(1)
    return lengths * torch.stack([angles.cos(), angles.sin()], dim=1)


def embeddings(dtype=torch.float64):
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def cos(degrees):
    return math.cos(math.radians(degrees))


@each_loss
def test_pair_loss_predicts_what_it_builds(name):
    loss = built(name)
    assert isinstance(loss, PairLoss)
    assert not isinstance(loss, CentreLoss)
    count = sum(parameter.numel() for parameter in loss.parameters())
    needs = () if name == "proxy_anchor" else ("positives", "negatives")
    assert OPTIONS[name].predict(CONTEXT) == LossShape(parameters=count, needs=needs)


def test_contrastive_by_hand():
    """Unit vectors at 0, 60 (positive) and 30 degrees (negative of both)."""

    def chord(degrees):
        return 2 * math.sin(math.radians(degrees / 2))

    got = Contrastive(pos_margin=0.1, neg_margin=0.8).build(CONTEXT)(at(0, 60, 30), torch.tensor([0, 0, 1]))
    assert got.item() == pytest.approx(chord(60) - 0.1 + 0.8 - chord(30), rel=1e-6)


@pytest.mark.parametrize("epsilon", [None, 0.1])
def test_multi_similarity_by_hand(epsilon):
    """Positives at 0 and 60 degrees, their negative at 150."""
    labels = torch.tensor([0, 0, 1])
    degrees = (0, 60, 150)
    got = MultiSimilarity(epsilon=epsilon).build(CONTEXT)(at(*degrees), labels)
    positive = math.log(1 + math.exp(-2 * (cos(60) - 0.5))) / 2

    def negative(*angles):
        return math.log(1 + sum(math.exp(50 * (cos(angle) - 0.5)) for angle in angles)) / 50

    expected = (2 * positive + negative(150) + negative(90) + negative(150, 90)) / 3
    # Every negative is more than .1 farther than every positive, so mining drops all pairs.
    assert got.item() == pytest.approx(expected if epsilon is None else 0, rel=1e-9)


def test_multi_similarity_mines_as_the_library_does():
    miner, plain = miners.MultiSimilarityMiner(epsilon=0.1), losses.MultiSimilarityLoss(2, 50, 0.5)
    expected = plain(embeddings(), LABELS, miner(embeddings(), LABELS))
    torch.testing.assert_close(built("multi_similarity")(embeddings(), LABELS), expected)
    assert not torch.isclose(plain(embeddings(), LABELS), expected)


def test_supcon_by_hand():
    """Two images of a class at 0 and 60 degrees, one of another at 90; the latter has no positive."""
    t = 0.5
    got = SupCon(temperature=t).build(CONTEXT)(at(0, 60, 90), torch.tensor([0, 0, 1]))
    positive = math.exp(cos(60) / t)
    first = -math.log(positive / (positive + math.exp(cos(90) / t)))
    second = -math.log(positive / (positive + math.exp(cos(30) / t)))
    assert got.item() == pytest.approx((first + second) / 2, rel=1e-9)


def test_proxy_anchor_by_hand():
    """Two proxies at 0 and 90 degrees and one embedding of the first class at 60."""
    loss = ProxyAnchor(margin=0.1, alpha=4.0).build(LossContext(2, 2))
    loss.loss.proxies.data = at(0, 90)
    got = loss(at(60), torch.tensor([0]))
    pull = math.log(1 + math.exp(-4 * (cos(60) - 0.1)))
    push = math.log(1 + math.exp(4 * (cos(30) + 0.1)))
    # One proxy has a positive pair; the negative term is the mean over both proxies.
    assert got.item() == pytest.approx(pull + push / 2, rel=1e-9)


@pytest.mark.parametrize("label", [3, -1])
def test_proxy_anchor_refuses_labels_without_a_proxy(label):
    with pytest.raises(TrainingError, match="expected 0 to 2, as there are 3 classes"):
        built("proxy_anchor")(embeddings(), torch.tensor([0, 0, 1, 1, 2, label]))


@each_loss
def test_pair_loss_gradient_passes_gradcheck(name):
    loss = built(name).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, LABELS), embeddings().requires_grad_())


@each_loss
def test_pair_loss_under_autocast_computes_in_float32(name):
    loss = built(name)
    leaf = embeddings(torch.bfloat16)
    expected = loss(leaf.float(), LABELS)
    leaf.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(leaf, LABELS)
    assert torch.equal(value, expected)
    value.backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["contrastive", "multi_similarity", "supcon"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [4]])
def test_pair_loss_without_a_positive_pair_is_finite_with_a_gradient(name, labels):
    """Its negatives are so far that they add nothing either."""
    leaf = torch.eye(4)[: len(labels)].requires_grad_()
    value = built(name)(leaf, torch.tensor(labels))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert leaf.grad.isfinite().all()


@each_loss
def test_pair_loss_state_survives_a_checkpoint(name):
    first, second = built(name), OPTIONS[name].build(CONTEXT)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(embeddings(), LABELS), second(embeddings(), LABELS))

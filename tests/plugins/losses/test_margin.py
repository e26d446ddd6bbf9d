"""Margin losses, against angles computed by hand."""

import math

import pytest
import torch
from pytorch_metric_learning import losses
from torch.nn import functional as F

from mlbench.plugin import CentreLoss, LossContext
from mlbench_losses.margin import CosFace, Softmax

# One embedding at 0 degrees; class centres at 60 and 120 degrees: cosines 1/2 and -1/2.
COSINES = torch.tensor([[[math.cos(math.radians(60))], [math.cos(math.radians(120))]]], dtype=torch.float64)
NORMS = torch.ones(1, dtype=torch.float64)


def test_cosface_is_a_centre_loss_with_one_centre():
    options = CosFace()
    loss = options.build(LossContext(2, 2))
    assert loss is options  # it has no state
    assert isinstance(loss, CentreLoss)
    assert loss.centres_per_class == 1


def test_cosface_defaults_are_the_published_ones():
    assert (CosFace().scale, CosFace().margin) == (64.0, 0.4)


@pytest.mark.parametrize(("target", "expected"), [(0, [1.0, -5.0]), (1, [5.0, -9.0]), (-1, [5.0, -5.0])])
def test_cosface_subtracts_the_margin_from_the_target_only(target, expected):
    logits = CosFace(scale=10.0, margin=0.4).logits(COSINES, torch.tensor([target]), NORMS)
    torch.testing.assert_close(logits, torch.tensor([expected], dtype=torch.float64))


def test_cosface_cross_entropy_matches_the_formula_of_the_paper():
    scale, margin = 4.0, 0.35
    logits = CosFace(scale=scale, margin=margin).logits(COSINES, torch.tensor([0]), NORMS)
    own, other = math.exp(scale * (0.5 - margin)), math.exp(scale * -0.5)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(-math.log(own / (own + other)), rel=1e-12)


def test_cosface_matches_a_loop_where_some_targets_are_not_sampled():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(7, 5, 1, generator=generator, dtype=torch.float64) * 2 - 1
    targets = torch.tensor([0, 4, -1, 2, 2, -1, 1])
    expected = torch.empty(7, 5, dtype=torch.float64)
    for n in range(7):
        for k in range(5):
            expected[n, k] = 30 * (cosines[n, k, 0] - (0.2 if targets[n] == k else 0.0))
    logits = CosFace(scale=30.0, margin=0.2).logits(cosines, targets, torch.ones(7))
    torch.testing.assert_close(logits, expected, rtol=1e-14, atol=1e-14)


def test_cosface_does_not_change_the_cosines():
    before = COSINES.clone()
    CosFace().logits(COSINES, torch.tensor([0]), NORMS)
    assert torch.equal(COSINES, before)


def test_cosface_gradient_is_exact():
    generator = torch.Generator().manual_seed(1)
    cosines = (torch.rand(3, 4, 1, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    targets = torch.tensor([2, 0, -1])
    loss = CosFace(scale=5.0, margin=0.3)
    assert torch.autograd.gradcheck(lambda x: loss.logits(x, targets, torch.ones(3)), cosines)


def test_softmax_only_scales():
    logits = Softmax(scale=16.0).logits(COSINES, torch.tensor([0]), NORMS)
    torch.testing.assert_close(logits, 16.0 * COSINES[:, :, 0])


@pytest.mark.parametrize("name", ["cosface", "softmax"])
def test_margin_losses_agree_with_pytorch_metric_learning(name):
    torch.manual_seed(0)
    labels, embeddings = torch.arange(12) % 5, torch.randn(12, 6, dtype=torch.float64)
    if name == "cosface":
        theirs, ours = losses.CosFaceLoss(5, 6, margin=0.35, scale=32), CosFace(scale=32.0, margin=0.35)
    else:
        theirs, ours = losses.NormalizedSoftmaxLoss(5, 6, temperature=1 / 32), Softmax(scale=32.0)
    theirs = theirs.double()
    cosines = F.normalize(embeddings) @ F.normalize(theirs.W.detach(), dim=0)
    got = F.cross_entropy(ours.logits(cosines.unsqueeze(2), labels, embeddings.norm(dim=1)), labels)
    torch.testing.assert_close(got, theirs(embeddings, labels).detach())

"""CurricularFace: logits by hand, and a running mean that only changes in training."""

import math

import pytest
import torch

from mlbench.plugin import CentreLoss, LossContext
from mlbench_losses.margin import ArcFace, CurricularFace


def curricularface(**options):
    return CurricularFace(**options).build(LossContext(5, 6))


def frozen(t, **options):
    loss = curricularface(**options).eval()
    loss.t.fill_(t)
    return loss


def cosines_at(*degrees):
    return torch.tensor(degrees, dtype=torch.float64).deg2rad().cos().view(1, -1, 1)


NORMS = torch.ones(1, dtype=torch.float64)


def test_curricularface_is_a_centre_loss_that_needs_the_whole_batch():
    loss = curricularface()
    assert isinstance(loss, CentreLoss)
    assert loss.per_example is False
    assert (loss.scale, loss.margin, loss.momentum, loss.t.item()) == (64.0, 0.5, 0.01, 0.0)


def test_curricularface_weights_only_hard_negatives():
    """Target at 60 degrees, 90 with the margin: a centre at 70 is hard, one at 100 is not."""
    loss = frozen(0.3, scale=10.0, margin=math.pi / 6)
    got = loss.logits(cosines_at(60, 70, 100), torch.tensor([0]), NORMS)
    hard, easy = (math.cos(math.radians(angle)) for angle in (70, 100))
    expected = torch.tensor([[0.0, 10 * hard * (0.3 + hard), 10 * easy]], dtype=torch.float64)
    torch.testing.assert_close(got, expected)


def test_curricularface_without_hard_negatives_is_arcface():
    cosines = cosines_at(20, 100, 150)
    got = frozen(0.3).logits(cosines, torch.tensor([0]), NORMS)
    torch.testing.assert_close(got, ArcFace().logits(cosines, torch.tensor([0]), NORMS))


def test_curricularface_of_an_absent_target_only_scales():
    cosines = cosines_at(20, 100, 150)
    got = frozen(0.3, scale=10.0).logits(cosines, torch.tensor([-1]), NORMS)
    torch.testing.assert_close(got, 10 * cosines.squeeze(2))


def test_curricularface_mean_ignores_absent_targets():
    loss = curricularface(momentum=0.25)
    cosines = torch.tensor([[[0.5], [0.1]], [[0.2], [0.9]], [[1.0], [1.0]]], requires_grad=True)
    loss.logits(cosines, torch.tensor([0, 1, -1]), torch.ones(3))
    assert loss.t.item() == pytest.approx(0.25 * 0.7)
    loss.logits(cosines, torch.tensor([-1, -1, -1]), torch.ones(3))
    assert loss.t.item() == pytest.approx(0.25 * 0.7)


def test_curricularface_mean_includes_the_batch_before_its_logits():
    loss = curricularface(momentum=1.0, scale=1.0, margin=math.pi / 6)
    got = loss.logits(cosines_at(60, 70), torch.tensor([0]), NORMS)
    hard = math.cos(math.radians(70))
    assert got[0, 1].item() == pytest.approx(hard * (0.5 + hard), rel=1e-6)


def test_curricularface_mean_does_not_change_outside_training():
    loss = curricularface()
    arguments = torch.full((2, 3, 1), 0.5), torch.tensor([0, 1]), torch.ones(2)
    with torch.no_grad():
        loss.logits(*arguments)
    loss.eval().logits(*arguments)
    assert loss.t == 0
    loss.train().logits(*arguments)
    assert loss.t > 0


def test_curricularface_state_survives_a_checkpoint():
    first, second = curricularface(), curricularface()
    first.logits(torch.full((2, 3, 1), 0.5), torch.tensor([0, 1]), torch.ones(2))
    second.load_state_dict(first.state_dict())
    assert second.t == first.t != 0


def test_curricularface_gradient_passes_gradcheck():
    generator = torch.Generator().manual_seed(1)
    cosines = torch.rand(5, 6, 1, generator=generator, dtype=torch.float64) * 1.6 - 0.8
    targets = torch.tensor([2, 0, -1, 3, 5])
    loss = frozen(0.4, scale=3.0)
    assert torch.autograd.gradcheck(
        lambda x: loss.logits(x, targets, torch.ones(5)), cosines.requires_grad_()
    )

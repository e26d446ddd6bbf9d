"""AdaFace: margins by hand, and running statistics that only change in training."""

import math

import pytest
import torch

from mlbench.plugin import CentreLoss, LossContext
from mlbench_losses.margin import AdaFace


def adaface(**options):
    return AdaFace(**options).build(LossContext(5, 6))


def frozen(mean=20.0, std=100.0, **options):
    """The loss in eval mode with these statistics."""
    loss = adaface(**options).eval()
    loss.mean.fill_(mean)
    loss.std.fill_(std)
    return loss


def cosines_at(*degrees):
    return torch.tensor(degrees, dtype=torch.float64).deg2rad().cos().view(-1, 1, 1)


def test_adaface_is_a_centre_loss_that_needs_the_whole_batch():
    loss = adaface()
    assert isinstance(loss, CentreLoss)
    assert loss.per_example is False
    assert (loss.scale, loss.margin, loss.h, loss.momentum) == (64.0, 0.4, 0.333, 0.01)
    assert not list(loss.parameters())


@pytest.mark.parametrize(
    ("norm", "quality"), [(10.0, 0.0), (12.001, 0.5), (7.999, -0.5), (1000.0, 1.0), (0.0, -1.0)]
)
@pytest.mark.parametrize("degrees", [50, 90, 120])
def test_adaface_margin_depends_on_the_length(norm, quality, degrees):
    """Standard deviation 2 and h .5: a length one deviation above the mean has quality 1/2."""
    loss = frozen(10.0, 2.0, scale=8.0, margin=0.4, h=0.5)
    norms = torch.tensor([norm], dtype=torch.float64)
    # 1e-3 is added to the deviation.
    got = loss.logits(cosines_at(degrees), torch.tensor([0]), norms).item()
    expected = 8 * (math.cos(math.radians(degrees) - 0.4 * quality) - 0.4 * (1 + quality))
    assert got == pytest.approx(expected, rel=1e-3)


def test_adaface_of_average_length_is_cosface():
    """As in the paper: quality 0 is an additive cosine margin, -1 that of ArcFace."""
    loss = frozen(10.0, 2.0, scale=1.0, h=1.0)
    cosines, targets = cosines_at(70, 70), torch.tensor([0, 0])
    got = loss.logits(cosines, targets, torch.tensor([10.0, 0.0], dtype=torch.float64)).flatten()
    angle = math.radians(70)
    expected = torch.tensor([math.cos(angle) - 0.4, math.cos(angle + 0.4)], dtype=torch.float64)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("degrees", "norm", "edge"), [(170, 0.0, -1.0), (10, 100.0, 1.0)])
def test_adaface_clamps_the_angle_between_zero_and_pi(degrees, norm, edge):
    loss = frozen(50.0, 2.0, scale=1.0, margin=0.4, h=1.0)
    quality = 1.0 if norm else -1.0
    cosines = cosines_at(degrees).requires_grad_()
    got = loss.logits(cosines, torch.tensor([0]), torch.tensor([norm], dtype=torch.float64))
    assert got.item() == pytest.approx(edge - 0.4 * (1 + quality))
    got.sum().backward()
    assert cosines.grad.item() == 0


def test_adaface_changes_no_other_class_and_no_absent_target():
    cosines = torch.rand(3, 4, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = frozen(scale=8.0)
    got = loss.logits(cosines, torch.tensor([-1, 2, -1]), torch.tensor([5.0, 20.0, 90.0]))
    changed = (got - 8 * cosines.squeeze(2)).abs() > 1e-12
    assert changed.nonzero().tolist() == [[1, 2]]


def test_adaface_statistics_follow_the_batch():
    loss = adaface(momentum=0.25)
    norms = torch.tensor([2.0, 4.0, 9.0], requires_grad=True)
    loss.logits(torch.zeros(3, 2, 1), torch.tensor([0, 1, -1]), norms)
    assert loss.mean.item() == pytest.approx(0.75 * 20 + 0.25 * 5)
    assert loss.std.item() == pytest.approx(0.75 * 100 + 0.25 * math.sqrt(13))


def test_adaface_statistics_include_the_batch_before_its_logits():
    norms = torch.tensor([3.0, 7.0])
    loss = adaface(momentum=1.0, scale=1.0, h=1.0, margin=0.4)
    got = loss.logits(torch.zeros(2, 1, 1), torch.tensor([0, 0]), norms)
    quality = (norms - 5) / (math.sqrt(8) + 1e-3)
    torch.testing.assert_close(got.flatten(), (0.4 * quality).sin() - 0.4 * (1 + quality))


def test_adaface_statistics_do_not_change_outside_training():
    loss = adaface()
    arguments = torch.zeros(2, 1, 1), torch.tensor([0, 0]), torch.tensor([1.0, 2.0])
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    with torch.no_grad():
        loss.logits(*arguments)
    loss.eval().logits(*arguments)
    loss.train().logits(*(tensor[:1] for tensor in arguments))  # one example has no deviation
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    loss.logits(*arguments)
    assert loss.mean != before["mean"]


def test_adaface_state_survives_a_checkpoint():
    first, second = adaface(), adaface()
    arguments = torch.zeros(2, 1, 1), torch.tensor([0, 0]), torch.tensor([1.0, 9.0])
    first.logits(*arguments)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval().logits(*arguments), second.eval().logits(*arguments))


def test_adaface_gradient_passes_gradcheck_and_none_flows_to_the_norms():
    generator = torch.Generator().manual_seed(1)
    cosines = torch.rand(4, 3, 1, generator=generator, dtype=torch.float64) * 1.6 - 0.8
    norms = torch.tensor([5.0, 12.0, 20.0, 40.0], dtype=torch.float64, requires_grad=True)
    loss, targets = frozen(20.0, 10.0, scale=3.0, h=0.5), torch.tensor([0, 2, -1, 1])
    assert torch.autograd.gradcheck(lambda x: loss.logits(x, targets, norms), cosines.requires_grad_())
    loss.logits(cosines, targets, norms).sum().backward()
    assert norms.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", [0.0, 20.0, 1e4])
@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_adaface_is_finite_at_the_poles(dtype, norm, cosine):
    cosines = torch.tensor([[[cosine], [0.0]]], dtype=dtype, requires_grad=True)
    got = frozen(20.0, 1.0).logits(cosines, torch.tensor([0]), torch.tensor([norm], dtype=dtype))
    got.sum().backward()
    assert got.dtype == dtype
    assert got.isfinite().all()
    assert cosines.grad.isfinite().all()

"""MagFace: margins and the term of the lengths by hand, in two dimensions."""

import math

import pytest
import torch

from mlbench.plugin import CentreLoss, LossContext, OptionError, RegularisedLoss
from mlbench_losses.margin import ArcFace, MagFace

CONTEXT = LossContext(3, 2)


def cosines_at(*degrees):
    return torch.tensor(degrees, dtype=torch.float64).deg2rad().cos().view(-1, 1, 1)


def margin_at(length):
    """The published settings: .45 at 10, .8 at 110."""
    return 0.45 + 0.35 * (min(max(length, 10.0), 110.0) - 10) / 100


def test_magface_has_the_published_settings():
    loss = MagFace().build(CONTEXT)
    assert isinstance(loss, CentreLoss)
    assert isinstance(loss, RegularisedLoss)
    assert loss.model_dump() == {
        "scale": 64.0,
        "l_a": 10.0,
        "u_a": 110.0,
        "l_m": 0.45,
        "u_m": 0.8,
        "lambda_g": 35.0,
        "easy_margin": False,
    }


@pytest.mark.parametrize("length", [0.0, 10.0, 40.0, 110.0, 500.0])
@pytest.mark.parametrize(
    ("degrees", "easy"), [(30, False), (120, False), (150, False), (30, True), (89, True), (120, True)]
)
def test_magface_margin_grows_with_the_length(length, degrees, easy):
    loss = MagFace(scale=8.0, easy_margin=easy)
    angle, margin = math.radians(degrees), margin_at(length)
    expected = math.cos(angle + margin)
    if easy and degrees > 90:
        expected = math.cos(angle)
    elif angle + margin > math.pi:
        expected = math.cos(angle) - margin * math.sin(margin)
    norms = torch.tensor([length], dtype=torch.float64)
    got = loss.logits(cosines_at(degrees), torch.tensor([0]), norms)
    assert got.item() == pytest.approx(8 * expected)
    assert loss.target_logits(cosines_at(degrees).flatten(), norms).item() == pytest.approx(8 * expected)


def test_magface_changes_no_other_class_and_no_absent_target():
    cosines = torch.rand(3, 4, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = MagFace(scale=8.0).logits(cosines, torch.tensor([-1, 2, -1]), torch.tensor([5.0, 20.0, 90.0]))
    changed = (got - 8 * cosines.squeeze(2)).abs() > 1e-12
    assert changed.nonzero().tolist() == [[1, 2]]


def test_magface_of_one_margin_is_arcface():
    cosines, targets = torch.linspace(-1, 1, 40).view(10, 4, 1), torch.arange(10) % 4
    norms = torch.linspace(1, 200, 10)
    expected = ArcFace(margin=0.6).logits(cosines, targets, norms)
    torch.testing.assert_close(MagFace(l_m=0.6, u_m=0.6).logits(cosines, targets, norms), expected)


def test_magface_gradient_by_the_length_is_that_of_the_formula():
    """d/da of scale * cos(t + m(a)) is -scale * sin(t + m(a)) * (u_m - l_m) / (u_a - l_a), and 0 outside."""
    norms = torch.tensor([9.0, 60.0, 120.0], dtype=torch.float64, requires_grad=True)
    MagFace(scale=2.0).logits(
        cosines_at(50, 50, 50), torch.zeros(3, dtype=torch.int64), norms
    ).sum().backward()
    inside = -2 * math.sin(math.radians(50) + margin_at(60)) * 0.35 / 100
    assert norms.grad.tolist() == pytest.approx([0, inside, 0])


@pytest.mark.parametrize("easy", [False, True])
def test_magface_gradient_passes_gradcheck(easy):
    generator = torch.Generator().manual_seed(1)
    cosines = torch.rand(5, 4, 1, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    norms = torch.tensor([5.0, 12.0, 20.0, 40.0, 150.0], dtype=torch.float64)
    targets = torch.tensor([2, 0, -1, 3, 3])
    loss = MagFace(scale=5.0, easy_margin=easy)
    inputs = cosines.requires_grad_(), norms.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a: loss.logits(x, targets, a), inputs)


def test_magface_term_of_the_lengths_by_hand():
    """Lengths 5 (counts as 10), 50, and 300 (counts as 110)."""
    embeddings = torch.tensor([[3.0, 4.0], [-30.0, 40.0], [0.0, 300.0]], dtype=torch.float64)
    embeddings.requires_grad_()
    ((name, value),) = MagFace(lambda_g=20.0).regularisers(embeddings).items()
    assert name == "magnitude"
    assert value.item() == pytest.approx(20 / 3 * sum(a / 110**2 + 1 / a for a in (10, 50, 110)))
    value.backward()
    slope = 20 / 3 * (1 / 110**2 - 1 / 50**2)
    expected = [[0, 0], [slope * -0.6, slope * 0.8], [0, 0]]
    torch.testing.assert_close(embeddings.grad, torch.tensor(expected, dtype=torch.float64))


def test_magface_term_passes_gradcheck_and_is_lowest_at_the_upper_length():
    loss = MagFace(l_a=1.0, u_a=6.0)
    embeddings = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    assert torch.autograd.gradcheck(lambda x: loss.regularisers(x)["magnitude"], embeddings.requires_grad_())
    lengths = torch.linspace(0.5, 9, 60)
    values = [loss.regularisers(length.view(1, 1))["magnitude"].item() for length in lengths]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(35 * 2 / 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", [0.0, 20.0, 1e4])
@pytest.mark.parametrize("cosine", [1.0, -1.0, 0.0])
def test_magface_is_finite_at_the_poles(dtype, norm, cosine):
    cosines = torch.tensor([[[cosine], [0.0]]], dtype=dtype, requires_grad=True)
    norms = torch.tensor([norm], dtype=dtype, requires_grad=True)
    got = MagFace().logits(cosines, torch.tensor([0]), norms)
    got.sum().backward()
    assert got.dtype == dtype
    assert got.isfinite().all()
    assert cosines.grad.isfinite().all()
    assert norms.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message", "option"),
    [
        ({"l_a": 110}, r"l_a \(110\) must be below u_a \(110\)", "l_a"),
        ({"l_m": 0.9}, r"l_m \(0.9\) must be at most u_m \(0.8\)", "l_m"),
    ],
)
def test_magface_refuses_ends_in_the_wrong_order(options, message, option):
    with pytest.raises(OptionError, match=message) as caught:
        MagFace(**options)
    assert caught.value.option == option

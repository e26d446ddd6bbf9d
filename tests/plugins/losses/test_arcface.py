"""ArcFace and its sub-centres, against angles computed by hand and pytorch-metric-learning."""

import math

import pytest
import torch
from pytorch_metric_learning import losses
from torch.nn import functional as F

from mlbench.plugin import CentreLoss
from mlbench_losses.arcface import add_angle, guarded
from mlbench_losses.margin import ArcFace, SubcenterArcFace

EXACT, STRAIGHT = "exact", "straight_through"


def cosines_at(*degrees):
    """(1, K, 1) cosines of one embedding to centres at these angles."""
    return torch.tensor(degrees, dtype=torch.float64).deg2rad().cos().view(1, -1, 1)


def logits(loss, cosines, *targets):
    return loss.logits(cosines, torch.tensor(targets), torch.ones(len(cosines), dtype=cosines.dtype))


def test_arcface_defaults_are_the_published_ones():
    loss = ArcFace()
    assert isinstance(loss, CentreLoss)
    assert (loss.scale, loss.margin, loss.gradient, loss.centres_per_class) == (64.0, 0.5, EXACT, 1)
    assert SubcenterArcFace().centres_per_class == 3


@pytest.mark.parametrize("gradient", [EXACT, STRAIGHT])
@pytest.mark.parametrize("target", [0, 1, -1])
def test_arcface_adds_the_margin_to_the_targets_angle(gradient, target):
    angles = [60, 100]
    expected = [10 * math.cos(math.radians(angle + 30 * (k == target))) for k, angle in enumerate(angles)]
    loss = ArcFace(scale=10.0, margin=math.pi / 6, gradient=gradient)
    got = logits(loss, cosines_at(*angles), target)
    torch.testing.assert_close(got, torch.tensor([expected], dtype=torch.float64))


def test_arcface_keeps_falling_beyond_pi():
    """At 170 degrees and a margin of 30, the angle would be 200 degrees; straight-through has no guard."""
    margin = math.pi / 6
    cosine = math.cos(math.radians(170))
    got = logits(ArcFace(scale=1.0, margin=margin), cosines_at(170, 0), 0)
    assert got[0, 0].item() == pytest.approx(cosine - margin * math.sin(margin), rel=1e-12)
    bare = logits(ArcFace(scale=1.0, margin=margin, gradient=STRAIGHT), cosines_at(170, 0), 0)
    assert bare[0, 0].item() == pytest.approx(math.cos(math.radians(200)), rel=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.4, 0.5, 1.0, 1.57])
def test_guarded_never_rises_with_the_angle(margin):
    cosines = torch.linspace(0, math.pi, 10_001, dtype=torch.float64).cos()
    values = guarded(cosines, margin)
    assert (values.diff() <= 1e-15).all()
    angles = cosines.acos()
    inside = angles + margin < math.pi
    torch.testing.assert_close(values[inside], (angles + margin).cos()[inside])


def test_guarded_drops_where_its_parts_meet_as_documented():
    seam = math.pi - 0.4
    near = guarded(torch.tensor([math.cos(seam - 1e-9), math.cos(seam + 1e-9)], dtype=torch.float64), 0.4)
    assert (near[0] - near[1]).item() == pytest.approx(0.08, abs=0.005)


@pytest.mark.parametrize("degrees", [10, 60, 90, 130])
def test_arcface_exact_gradient_is_the_formula(degrees):
    cosines = cosines_at(degrees, 45).requires_grad_()
    logits(ArcFace(scale=1.0, margin=0.5), cosines, 0)[0, 0].backward()
    angle = math.radians(degrees)
    assert cosines.grad[0, 0].item() == pytest.approx(math.sin(angle + 0.5) / math.sin(angle), rel=1e-9)
    assert cosines.grad[0, 1].item() == 0


@pytest.mark.parametrize("degrees", [0, 10, 90, 175, 180])
def test_arcface_straight_through_gradient_is_one(degrees):
    cosines = cosines_at(degrees, 45).requires_grad_()
    logits(ArcFace(scale=1.0, margin=0.5, gradient=STRAIGHT), cosines, 0).sum().backward()
    assert cosines.grad.flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gradient", [EXACT, STRAIGHT])
@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_arcface_is_finite_at_the_poles(dtype, gradient, cosine):
    cosines = torch.tensor([[[cosine], [0.25]]], dtype=dtype, requires_grad=True)
    loss = ArcFace(scale=8.0, margin=0.5, gradient=gradient)
    values = logits(loss, cosines, 0)
    assert values.dtype == dtype
    values.sum().backward()
    assert values.isfinite().all()
    assert cosines.grad.isfinite().all()
    assert (cosines.grad > 0).all()
    bare = gradient == STRAIGHT or cosine > 0
    value = cosine * math.cos(0.5) if bare else cosine - 0.5 * math.sin(0.5)
    assert values[0, 0].item() == pytest.approx(8 * value, rel=1e-2 if dtype.itemsize == 2 else 1e-6)


def test_add_angle_is_accurate_near_the_pole():
    """float32 cosines of angles down to 1/1000 radian, against float64 of the same cosines."""
    cosines = torch.tensor([1e-3, 3e-3, 1e-2, 0.1], dtype=torch.float64).cos().float()
    expected = (cosines.double().acos() + 0.5).cos()
    torch.testing.assert_close(add_angle(cosines, 0.5).double(), expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize("each", [1, 3])
def test_arcface_gradient_passes_gradcheck(each):
    generator = torch.Generator().manual_seed(1)
    cosines = torch.rand(5, 4, each, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    targets = torch.tensor([2, 0, -1, 3, 3])
    loss = SubcenterArcFace(scale=5.0, margin=0.3, centres_per_class=each)
    assert torch.autograd.gradcheck(
        lambda x: loss.logits(x, targets, torch.ones(5)), cosines.requires_grad_()
    )


def test_arcface_does_not_change_the_cosines():
    cosines = cosines_at(60, 120)
    before = cosines.clone()
    logits(ArcFace(), cosines, 0)
    assert torch.equal(cosines, before)


def test_subcenter_arcface_takes_the_nearest_centre_of_each_class():
    cosines = torch.cat([cosines_at(80, 40, 60), cosines_at(120, 100, 170)]).view(1, 2, 3)
    loss = SubcenterArcFace(scale=10.0, margin=math.pi / 6)
    expected = [[10 * math.cos(math.radians(70)), 10 * math.cos(math.radians(100))]]
    torch.testing.assert_close(logits(loss, cosines, 0), torch.tensor(expected, dtype=torch.float64))


def agreement(theirs, ours, embeddings, labels):
    """Compare loss and gradient of a loss of the library with ours on the same centres."""
    each = getattr(ours, "centres_per_class", 1)
    leaf = embeddings.clone().requires_grad_()
    value = theirs(leaf, labels)
    (gradient,) = torch.autograd.grad(value, leaf)
    centres = theirs.W.detach().T
    cosines = (F.normalize(leaf) @ F.normalize(centres).T).view(len(leaf), -1, each)
    got = F.cross_entropy(ours.logits(cosines, labels, leaf.norm(dim=1)), labels)
    torch.testing.assert_close(got, value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.autograd.grad(got, leaf)[0], gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("degrees", "margin"), [(22.92, 0.4), (28.6, 0.5)])
def test_arcface_agrees_with_pytorch_metric_learning(degrees, margin):
    torch.manual_seed(0)
    theirs = losses.ArcFaceLoss(5, 6, margin=degrees, scale=32).double()
    ours = ArcFace(scale=32.0, margin=math.radians(degrees))
    assert math.radians(degrees) == pytest.approx(margin, abs=1e-3)
    # The first embedding is opposite to its centre, beyond the guard.
    embeddings = torch.randn(12, 6, dtype=torch.float64)
    labels = torch.arange(12) % 5
    embeddings[0] = -theirs.W.detach().T[0] + 0.05 * embeddings[0]
    agreement(theirs, ours, embeddings, labels)


def test_subcenter_arcface_agrees_with_pytorch_metric_learning():
    torch.manual_seed(0)
    theirs = losses.SubCenterArcFaceLoss(num_classes=5, embedding_size=6, margin=28.6, scale=32).double()
    ours = SubcenterArcFace(scale=32.0, margin=math.radians(28.6))
    agreement(theirs, ours, torch.randn(12, 6, dtype=torch.float64), torch.arange(12) % 5)

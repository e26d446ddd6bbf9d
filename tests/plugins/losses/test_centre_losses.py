"""What holds for every loss with class centres, through both samplers."""

import pytest
import torch

from mlbench.contracts import LossShape
from mlbench_losses.margin import (
    adaface,
    arcface,
    cosface,
    curricularface,
    predict_adaface,
    predict_arcface,
    predict_cosface,
    predict_curricularface,
    predict_softmax,
    predict_subcenter_arcface,
    softmax,
    subcenter_arcface,
)
from mlbench_samplers.centres import all_centres, partial_fc

CLASSES, DIM = 12, 8
PREDICTIONS = {
    adaface: predict_adaface,
    arcface: predict_arcface,
    cosface: predict_cosface,
    curricularface: predict_curricularface,
    softmax: predict_softmax,
    subcenter_arcface: predict_subcenter_arcface,
}
LOSSES = {factory.__name__: factory for factory in PREDICTIONS}
LOSSES["arcface_straight_through"] = lambda: arcface(gradient="straight_through")
each_loss = pytest.mark.parametrize("factory", LOSSES.values(), ids=LOSSES)


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    embeddings = 5 * torch.randn(10, DIM, generator=generator)
    return embeddings.to(dtype).requires_grad_(), torch.randint(CLASSES, (10,), generator=generator)


def centres_of(sampler, loss):
    torch.manual_seed(3)
    if sampler == "all":
        return all_centres(CLASSES, DIM, loss.centres_per_class)
    return partial_fc(CLASSES, DIM, loss.centres_per_class, 10, 0, rate=1.0)


@pytest.mark.parametrize("factory", PREDICTIONS, ids=lambda factory: factory.__name__)
def test_centre_loss_predicts_what_it_builds(factory):
    loss = factory()
    parameters = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
    assert PREDICTIONS[factory]() == LossShape(loss.centres_per_class, len(parameters))


@each_loss
def test_centre_loss_is_the_same_through_both_samplers(factory):
    """partial_fc at rate 1 has all centres, though it works its gradients out itself."""
    values, gradients, states = [], [], []
    for name in ("all", "partial_fc"):
        loss = factory()
        sampler, (embeddings, labels) = centres_of(name, loss), batch()
        for _ in range(2):  # the second step starts from statistics that the first has moved
            value = sampler(embeddings, labels, loss)
            embeddings.grad = None
            value.backward()
        values.append(value.detach())
        gradients.append(embeddings.grad)
        states.append(loss.state_dict() if isinstance(loss, torch.nn.Module) else {})
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*states)
    assert gradients[0].abs().sum() > 0


@each_loss
@pytest.mark.parametrize("sampler", ["all", "partial_fc"])
def test_centre_loss_is_finite_under_autocast(factory, sampler):
    """Of bf16 embeddings, two of which lie on their centre and opposite to it."""
    loss = factory()
    centres = centres_of(sampler, loss)
    embeddings, labels = batch(torch.bfloat16)
    with torch.no_grad():
        on = centres.centres[labels[0], 0]
        embeddings[0], embeddings[1] = 100 * on, -100 * centres.centres[labels[1], 0]
        centres.centres[labels[0], 0] = embeddings[0].float()
        centres.centres[labels[1], 0] = -embeddings[1].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = centres(embeddings, labels, loss)
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.abs().sum() > 0


@each_loss
def test_centre_loss_asked_piecewise_says_the_same_where_it_says_so(factory):
    generator = torch.Generator().manual_seed(0)
    loss = factory()
    cosines = torch.rand(6, 5, loss.centres_per_class, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    targets, norms = torch.tensor([0, 4, -1, 2, 2, -1]), torch.rand(6, generator=generator) * 30
    whole = factory().logits(cosines, targets, norms)
    pairs = (slice(start, start + 2) for start in range(0, 6, 2))
    parts = [loss.logits(cosines[pair], targets[pair], norms[pair]) for pair in pairs]
    assert torch.equal(whole, torch.cat(parts)) == loss.per_example


@each_loss
def test_centre_loss_makes_the_target_harder_and_no_other_target(factory):
    """The target's logit is never above the scaled cosine; a target of -1 leaves all logits as they are."""
    generator = torch.Generator().manual_seed(0)
    loss = factory()
    cosines = torch.rand(50, 5, loss.centres_per_class, generator=generator) * 2 - 1
    norms = torch.rand(50, generator=generator) * 40
    plain = loss.scale * cosines.amax(2)
    targets = torch.arange(50) % 5
    gained = (loss.logits(cosines, targets, norms) - plain).gather(1, targets.unsqueeze(1))
    assert (gained <= 1e-4).all()
    absent = loss.logits(cosines, torch.full((50,), -1), norms)
    torch.testing.assert_close(absent, plain)

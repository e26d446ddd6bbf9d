"""Properties of every loss with class centres, with both samplers."""

import pytest
import torch

from mlbench.plugin import LossContext, LossShape, SamplerContext
from mlbench.plugins import load_plugins
from mlbench.registry import Registry
from mlbench_losses.margin import (
    AdaFace,
    ArcFace,
    CosFace,
    CurricularFace,
    MagFace,
    Softmax,
    SubcenterArcFace,
)

CLASSES, DIM = 12, 8
CONTEXT = LossContext(CLASSES, DIM)
LOSSES = {
    "adaface": AdaFace(),
    "arcface": ArcFace(),
    "arcface_straight_through": ArcFace(gradient="straight_through"),
    "cosface": CosFace(),
    "curricularface": CurricularFace(),
    "magface": MagFace(),
    "magface_easy": MagFace(easy_margin=True),
    "softmax": Softmax(),
    "subcenter_arcface": SubcenterArcFace(),
}
REGISTRY = Registry(load_plugins())
SAMPLERS = {"all": {}, "partial_fc": {"rate": 1.0}}
each_loss = pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    embeddings = 5 * torch.randn(10, DIM, generator=generator)
    return embeddings.to(dtype).requires_grad_(), torch.randint(CLASSES, (10,), generator=generator)


def centres_of(sampler, loss):
    torch.manual_seed(3)
    context = SamplerContext(CLASSES, DIM, loss.centres_per_class, batch_size=10, batch_labels=10, seed=0)
    return REGISTRY.get("sampler", sampler).make(SAMPLERS[sampler]).build(context)


@each_loss
def test_centre_loss_predicts_what_it_builds(options):
    loss = options.build(CONTEXT)
    parameters = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
    assert options.predict(CONTEXT) == LossShape(loss.centres_per_class, len(parameters))


@each_loss
def test_centre_loss_is_the_same_with_both_samplers(options):
    """partial_fc at rate 1 uses all centres, but computes the gradients itself."""
    values, gradients, states = [], [], []
    for name in ("all", "partial_fc"):
        loss = options.build(CONTEXT)
        sampler, (embeddings, labels) = centres_of(name, loss), batch()
        for _ in range(2):  # the first step changes the statistics of the second
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
def test_centre_loss_is_finite_under_autocast(options, sampler):
    """bfloat16 embeddings; the first two are at their centre and opposite to it."""
    loss = options.build(CONTEXT)
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
def test_centre_loss_per_example_means_the_same_logits_for_parts_of_a_batch(options):
    generator = torch.Generator().manual_seed(0)
    loss = options.build(CONTEXT)
    cosines = torch.rand(6, 5, loss.centres_per_class, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    targets, norms = torch.tensor([0, 4, -1, 2, 2, -1]), torch.rand(6, generator=generator) * 30
    whole = options.build(CONTEXT).logits(cosines, targets, norms)
    pairs = (slice(start, start + 2) for start in range(0, 6, 2))
    parts = [loss.logits(cosines[pair], targets[pair], norms[pair]) for pair in pairs]
    assert torch.equal(whole, torch.cat(parts)) == loss.per_example


@each_loss
def test_centre_loss_makes_the_target_harder_and_no_other_target(options):
    """The target's logit is never above the scaled cosine; a target of -1 leaves all logits as they are."""
    generator = torch.Generator().manual_seed(0)
    loss = options.build(CONTEXT)
    cosines = torch.rand(50, 5, loss.centres_per_class, generator=generator) * 2 - 1
    norms = torch.rand(50, generator=generator) * 40
    plain = loss.scale * cosines.amax(2)
    targets = torch.arange(50) % 5
    gained = (loss.logits(cosines, targets, norms) - plain).gather(1, targets.unsqueeze(1))
    assert (gained <= 1e-4).all()
    absent = loss.logits(cosines, torch.full((50,), -1), norms)
    torch.testing.assert_close(absent, plain)

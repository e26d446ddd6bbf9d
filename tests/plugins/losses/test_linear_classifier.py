"""Cross entropies of a linear classifier, against torch's and timm's."""

import math

import pytest
import timm.loss
import torch
from timm.data.mixup import Mixup, mixup_target
from torch.nn import functional as F

from mlbench.plugin import (
    CentreLoss,
    LossContext,
    LossShape,
    MixedLoss,
    OptionError,
    PairLoss,
    TrainingError,
)
from mlbench_losses.classifier import Bce, LinearCrossEntropy

CLASSES, DIM = 7, 5
CONTEXT = LossContext(CLASSES, DIM)
SHARES = [0.0, 0.15, 0.5, 0.7, 1.0]
LABELS = torch.tensor([0, 6, 3, 3, 1, 5])
each_class = pytest.mark.parametrize("options_class", [LinearCrossEntropy, Bce])


def embeddings(dtype=torch.float32):
    return torch.randn(6, DIM, generator=torch.Generator().manual_seed(0)).to(dtype)


def built(options_class, **options):
    torch.manual_seed(1)
    return options_class(**options).build(CONTEXT)


@each_class
@pytest.mark.parametrize("bias", [True, False])
def test_classifier_predicts_what_it_builds(options_class, bias):
    loss = built(options_class, bias=bias)
    count = sum(parameter.numel() for parameter in loss.parameters())
    assert options_class(bias=bias).predict(CONTEXT) == LossShape(parameters=count)
    assert count == CLASSES * DIM + bias * CLASSES


@each_class
def test_classifier_is_a_mixed_loss_without_centres(options_class):
    loss = built(options_class)
    assert isinstance(loss, PairLoss)
    assert isinstance(loss, MixedLoss)
    assert not isinstance(loss, CentreLoss)


@each_class
def test_classifier_starts_as_torch_linear_does(options_class):
    loss = built(options_class)
    torch.manual_seed(1)
    linear = torch.nn.Linear(DIM, CLASSES)
    assert torch.equal(loss.linear.weight, linear.weight)
    assert torch.equal(loss.linear.bias, linear.bias)
    assert linear.weight.abs().max() <= 1 / math.sqrt(DIM)


def test_cross_entropy_by_hand():
    """Two classes with logits 1 and -1 of an embedding (1, 0)."""
    loss = LinearCrossEntropy(smoothing=0.2, bias=False).build(LossContext(2, 2))
    loss.linear.weight.data = torch.tensor([[1.0, 5.0], [-1.0, 7.0]])
    right, wrong = (-math.log(math.exp(x) / (math.exp(1) + math.exp(-1))) for x in (1, -1))
    got = loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert got.item() == pytest.approx(0.9 * right + 0.1 * wrong, rel=1e-6)


def test_bce_by_hand():
    """Two classes with logits 1 and -1; the targets are .9 and .1."""
    loss = Bce(smoothing=0.2, bias=False).build(LossContext(2, 2))
    loss.linear.weight.data = torch.tensor([[1.0, 5.0], [-1.0, 7.0]])
    yes, no = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    got = loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert got.item() == pytest.approx(0.9 * yes + 0.1 * no, rel=1e-6)
    loss = Bce(smoothing=0.2, sum_classes=True, bias=False).build(LossContext(2, 2))
    loss.linear.weight.data = torch.tensor([[1.0, 5.0], [-1.0, 7.0]])
    assert loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(1.8 * yes + 0.2 * no)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_smooths_as_torch_and_timm_do(smoothing):
    loss = built(LinearCrossEntropy, smoothing=smoothing)
    scores = loss.linear(embeddings())
    got = loss(embeddings(), LABELS)
    torch.testing.assert_close(got, F.cross_entropy(scores, LABELS, label_smoothing=smoothing))
    torch.testing.assert_close(got, timm.loss.LabelSmoothingCrossEntropy(smoothing)(scores, LABELS))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share", SHARES)
def test_cross_entropy_of_mixed_images_is_that_of_mixed_targets(smoothing, share):
    loss = built(LinearCrossEntropy, smoothing=smoothing)
    got = loss.mixed(embeddings(), LABELS, LABELS.flip(0), share)
    targets = mixup_target(LABELS, CLASSES, share, smoothing)
    torch.testing.assert_close(got, timm.loss.SoftTargetCrossEntropy()(loss.linear(embeddings()), targets))


@pytest.mark.parametrize("sum_classes", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2, 0.6])
def test_bce_is_timms(threshold, smoothing, sum_classes):
    options = {"smoothing": smoothing, "target_threshold": threshold, "sum_classes": sum_classes}
    loss, theirs = built(Bce, **options), timm.loss.BinaryCrossEntropy(**options)
    assert torch.equal(loss(embeddings(), LABELS), theirs(loss.linear(embeddings()), LABELS))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("share", SHARES)
def test_bce_of_mixed_images_is_timms_on_mixup_targets(smoothing, threshold, share):
    loss = built(Bce, smoothing=smoothing, target_threshold=threshold)
    theirs = timm.loss.BinaryCrossEntropy(smoothing=0.3, target_threshold=threshold)
    targets = mixup_target(LABELS, CLASSES, share, smoothing)
    got = loss.mixed(embeddings(), LABELS, LABELS.flip(0), share)
    assert torch.equal(got, theirs(loss.linear(embeddings()), targets))


def test_bce_takes_what_timms_mixup_mixes():
    """timm mixes the images, makes the targets and computes the loss."""
    import numpy as np

    state = np.random.get_state()  # noqa: NPY002 - timm draws from it
    np.random.seed(3)  # noqa: NPY002
    try:
        mixup = Mixup(mixup_alpha=0.8, label_smoothing=0.1, num_classes=CLASSES)
        images, targets = mixup(embeddings().clone(), LABELS)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    share = ((images - embeddings().flip(0)) / (embeddings() - embeddings().flip(0)))[0, 0].item()
    assert 0 < share < 1
    loss = built(Bce, smoothing=0.1)
    theirs = timm.loss.BinaryCrossEntropy(smoothing=0.1)(loss.linear(images), targets)
    torch.testing.assert_close(loss.mixed(images, LABELS, LABELS.flip(0), share), theirs)


@each_class
def test_mixed_with_the_same_labels_or_a_share_of_one_is_the_plain_loss(options_class):
    loss = built(options_class, smoothing=0.1)
    plain = loss(embeddings(), LABELS)
    for others, share in ((LABELS, 0.3), (LABELS.flip(0), 1.0)):
        torch.testing.assert_close(loss.mixed(embeddings(), LABELS, others, share), plain)
    turned = loss.mixed(embeddings(), LABELS.flip(0), LABELS, 0.0)
    torch.testing.assert_close(turned, plain)


@each_class
def test_mixed_is_linear_in_the_share(options_class):
    loss = built(options_class, smoothing=0.1)
    arguments = embeddings(), LABELS, LABELS.roll(1)
    ends = [loss.mixed(*arguments, share) for share in (0.0, 1.0)]
    torch.testing.assert_close(loss.mixed(*arguments, 0.3), 0.7 * ends[0] + 0.3 * ends[1])


def test_bce_takes_a_threshold_of_zero_without_smoothing():
    sharp, soft = (built(Bce, target_threshold=threshold) for threshold in (0.0, None))
    torch.testing.assert_close(sharp(embeddings(), LABELS), soft(embeddings(), LABELS))


def test_bce_with_a_threshold_has_targets_of_one_for_both_classes():
    loss = built(Bce, target_threshold=0.2, sum_classes=True)
    scores = loss.linear(embeddings())
    others = LABELS.roll(1)
    targets = F.one_hot(LABELS, CLASSES).maximum(F.one_hot(others, CLASSES)).float()
    expected = F.binary_cross_entropy_with_logits(scores, targets, reduction="sum") / 6
    torch.testing.assert_close(loss.mixed(embeddings(), LABELS, others, 0.6), expected)


@pytest.mark.parametrize(
    ("smoothing", "threshold", "which"), [(0.1, 0.0, "all"), (0.1, 0.01, "all"), (0.5, 0.9, "none")]
)
@pytest.mark.parametrize("method", ["build", "predict"])
def test_bce_refuses_a_threshold_that_is_not_between_the_targets(method, smoothing, threshold, which):
    options = Bce(smoothing=smoothing, target_threshold=threshold)
    with pytest.raises(OptionError, match=f"{which} are above target_threshold") as caught:
        getattr(options, method)(CONTEXT)
    assert caught.value.option == "target_threshold"


@each_class
@pytest.mark.parametrize(("label", "range_"), [(CLASSES, "1 to 7"), (-1, "-1 to 1")])
def test_classifier_refuses_labels_out_of_range(options_class, label, range_):
    loss = built(options_class)
    labels = torch.tensor([1, 1, 1, 1, 1, label])
    for call in (
        lambda: loss(embeddings(), labels),
        lambda: loss.mixed(embeddings(), LABELS, labels, 0.5),
    ):
        with pytest.raises(TrainingError, match=f"labels run from {range_}; expected 0 to 6"):
            call()


@each_class
def test_classifier_gradient_passes_gradcheck(options_class):
    loss = built(options_class, smoothing=0.1).double()
    leaf = embeddings(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, LABELS), leaf)
    assert torch.autograd.gradcheck(lambda x: loss.mixed(x, LABELS, LABELS.flip(0), 0.3), leaf)


@each_class
def test_classifier_under_autocast_gives_float32_and_finite_gradients(options_class):
    loss = built(options_class)
    leaf = embeddings(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = loss(leaf, LABELS), loss.mixed(leaf, LABELS, LABELS.flip(0), 0.3)
    sum(values).backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values)
    gradients = [leaf.grad, *(parameter.grad for parameter in loss.parameters())]
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)


@each_class
def test_classifier_state_survives_a_checkpoint(options_class):
    first, second = built(options_class), options_class().build(CONTEXT)
    assert not torch.equal(first.linear.weight, second.linear.weight)
    assert set(first.state_dict()) == {"linear.weight", "linear.bias"}
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(embeddings(), LABELS), second(embeddings(), LABELS))

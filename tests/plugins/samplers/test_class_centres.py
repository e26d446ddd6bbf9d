"""All class centres in a training step, against loops and closed forms."""

import math

import pytest
import torch

from mlbench.errors import TrainingError
from mlbench_losses.margin import CosFace
from mlbench_samplers.class_centres import ClassCentres

LOSS = CosFace(scale=8.0, margin=0.35)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def naive_loss(embeddings, centres, labels, columns, loss=LOSS):
    """Mean cross entropy over the classes in `columns`, in a loop."""
    total = 0.0
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        logits = {}
        for column in columns:
            centre = centres[column, 0].tolist()
            dot = sum(a * b for a, b in zip(embedding, centre, strict=True))
            cosine = dot / math.hypot(*embedding) / math.hypot(*centre)
            logits[column] = loss.scale * (cosine - (loss.margin if column == label else 0.0))
        total += math.log(sum(math.exp(value) for value in logits.values())) - logits[label]
    return total / len(labels)


class Recorder:
    """A loss that keeps its arguments."""

    centres_per_class = 2

    def logits(self, cosines, targets, norms):
        self.cosines, self.targets, self.norms = cosines, targets, norms
        return cosines.amax(2)


def test_class_centres_start_small_and_centred():
    centres = ClassCentres(2000, 16, 2).centres
    assert centres.shape == (2000, 2, 16)
    assert centres.dtype == torch.float32
    assert abs(centres.std().item() - 0.01) < 1e-4
    assert abs(centres.mean().item()) < 1e-4


def test_class_centres_draw_from_the_global_generator():
    torch.manual_seed(3)
    first = ClassCentres(4, 3, 1).centres
    torch.manual_seed(3)
    assert torch.equal(ClassCentres(4, 3, 1).centres, first)


def test_class_centres_match_a_loop():
    sampler = ClassCentres(6, 5, 1)
    embeddings, labels = torch.randn(9, 5), torch.randint(6, (9,))
    expected = naive_loss(embeddings, sampler.centres, labels, range(6))
    assert sampler(embeddings, labels, LOSS).item() == pytest.approx(expected, rel=1e-5)


def test_class_centres_loss_of_right_angles():
    sampler = ClassCentres(2, 2, 1)
    with torch.no_grad():
        sampler.centres.copy_(torch.tensor([[[5.0, 0.0]], [[0.0, 0.1]]]))
    # Cosines 1 and 0, logits 8 * (1 - 0.35) and 0.
    loss = sampler(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), LOSS)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-8 * 0.65)), rel=1e-5)


def test_class_centres_give_the_loss_cosines_of_every_centre_and_the_norms():
    sampler, seen = ClassCentres(3, 4, 2), Recorder()
    embeddings, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    sampler(embeddings, labels, seen)
    assert seen.cosines.shape == (5, 3, 2)
    for n, k, j in ((0, 0, 0), (4, 2, 1), (2, 1, 0)):
        expected = torch.cosine_similarity(embeddings[n], sampler.centres[k, j], dim=0)
        torch.testing.assert_close(seen.cosines[n, k, j], expected)
    torch.testing.assert_close(seen.norms, embeddings.norm(dim=1))
    assert torch.equal(seen.targets, labels)


def test_class_centres_cosines_never_leave_their_range():
    sampler, seen = ClassCentres(64, 3, 1), Recorder()
    embeddings = sampler.centres[:, 0].detach() * 1e3
    sampler(embeddings, torch.arange(64), seen)
    assert seen.cosines.abs().max() <= 1


def test_class_centres_compute_in_float32_under_autocast():
    sampler, seen = ClassCentres(7, 64, 1), Recorder()
    embeddings, labels = torch.randn(4, 64).bfloat16(), torch.arange(4)
    expected = sampler(embeddings.float(), labels, LOSS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sampler(embeddings, labels, LOSS)
        sampler(embeddings, labels, seen)
    assert loss.dtype == seen.cosines.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_class_centres_gradient_is_exact():
    sampler = ClassCentres(4, 3, 1).double()
    embeddings = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 1])

    def loss(embeddings, centres):
        return torch.func.functional_call(sampler, {"centres": centres}, (embeddings, labels, LOSS))

    centres = torch.randn(4, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (embeddings, centres))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 5]), r"labels run from 0 to 5; expected 0 to 4"),
        (torch.tensor([-1, 2]), r"labels run from -1 to 2; expected 0 to 4"),
        (torch.tensor([-100, 2]), r"labels run from -100 to 2"),
        (torch.tensor([0.0, 1.0]), r"labels are torch\.float32; expected integers"),
        (torch.tensor([True, False]), r"labels are torch\.bool; expected integers"),
    ],
)
def test_class_centres_refuse_wrong_labels(labels, message):
    with pytest.raises(TrainingError, match=message):
        ClassCentres(5, 3, 1)(torch.randn(2, 3), labels, LOSS)


def test_class_centres_take_any_integers():
    sampler = ClassCentres(5, 3, 1)
    embeddings = torch.randn(2, 3)
    expected = sampler(embeddings, torch.tensor([4, 0]), LOSS)
    assert torch.equal(sampler(embeddings, torch.tensor([4, 0], dtype=torch.int32), LOSS), expected)

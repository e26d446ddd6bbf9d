"""Class centres in a training step, against loops and closed forms."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.errors import TrainingError
from mlbench_losses.margin import CosFace
from mlbench_samplers.class_centres import ClassCentres, PartialFC

LOSS = CosFace(scale=8.0, margin=0.35)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def naive_loss(embeddings, centres, labels, columns, loss=LOSS):
    """Mean cross entropy over the classes in `columns`, one number at a time."""
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
    """A loss that keeps what it was given."""

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


def make_partial(sampled, num_classes=40, seed=5):
    return PartialFC(num_classes, 6, 1, sampled=sampled, seed=seed)


@pytest.mark.parametrize(
    "make", [lambda: ClassCentres(5, 3, 1), lambda: PartialFC(5, 3, 1, sampled=4, seed=0)]
)
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
def test_class_centres_refuse_labels_that_are_none(make, labels, message):
    with pytest.raises(TrainingError, match=message):
        make()(torch.randn(2, 3), labels, LOSS)


def test_class_centres_take_any_integers():
    sampler = ClassCentres(5, 3, 1)
    embeddings = torch.randn(2, 3)
    expected = sampler(embeddings, torch.tensor([4, 0]), LOSS)
    assert torch.equal(sampler(embeddings, torch.tensor([4, 0], dtype=torch.int32), LOSS), expected)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.data())
def test_partial_fc_samples_all_labels_and_as_many_others_as_fit(data):
    num_classes = data.draw(st.integers(1, 30))
    sampled = data.draw(st.integers(1, num_classes))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=20)))
    columns = make_partial(sampled, num_classes).sample(labels).tolist()
    distinct = set(labels.tolist())
    assert columns == sorted(set(columns))
    assert distinct <= set(columns) <= set(range(num_classes))
    assert len(columns) == max(sampled, len(distinct))


def test_partial_fc_draws_negatives_evenly():
    sampler = make_partial(10, num_classes=25)
    counts = torch.zeros(25)
    for _ in range(2000):
        counts[sampler.sample(torch.tensor([3, 3, 7]))] += 1
    assert counts[3] == counts[7] == 2000
    others = counts[[k for k in range(25) if k not in (3, 7)]]
    expected = 2000 * 8 / 23
    # Binomial with a standard deviation below 22: five of them.
    assert (others - expected).abs().max() < 110


def test_partial_fc_matches_a_loop_over_its_columns():
    sampler = make_partial(12)
    embeddings, labels = torch.randn(8, 6), torch.randint(40, (8,))
    columns = copy.deepcopy(sampler).sample(labels).tolist()
    expected = naive_loss(embeddings, sampler.centres, labels, columns)
    assert len(columns) == 12
    assert sampler(embeddings, labels, LOSS).item() == pytest.approx(expected, rel=1e-5)


def test_partial_fc_of_all_classes_is_the_whole_head():
    partial, whole = make_partial(40), ClassCentres(40, 6, 1)
    whole.load_state_dict({"centres": partial.centres})
    embeddings, labels = torch.randn(8, 6), torch.randint(40, (8,))
    losses = [sampler(embeddings, labels, LOSS) for sampler in (partial, whole)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert torch.equal(partial.centres.grad, whole.centres.grad)


def test_partial_fc_moves_only_the_centres_of_its_columns():
    sampler = make_partial(12)
    labels = torch.tensor([1, 2, 39])
    columns = copy.deepcopy(sampler).sample(labels)
    sampler(torch.randn(3, 6), labels, LOSS).backward()
    moved = sampler.centres.grad.flatten(1).abs().sum(1).nonzero().flatten()
    assert torch.equal(moved, columns)


def test_partial_fc_draws_anew_at_each_step_and_again_from_the_same_seed():
    labels = torch.tensor([0, 1])
    first, second, other = make_partial(10), make_partial(10), make_partial(10, seed=6)
    draws = [first.sample(labels).tolist() for _ in range(3)]
    assert draws == [second.sample(labels).tolist() for _ in range(3)]
    assert len({tuple(draw) for draw in draws}) == 3
    assert draws[0] != other.sample(labels).tolist()


def test_partial_fc_leaves_the_global_generator_alone():
    sampler = make_partial(10)
    before = torch.get_rng_state()
    sampler(torch.randn(2, 6, generator=torch.Generator()), torch.tensor([0, 1]), LOSS)
    assert torch.equal(torch.get_rng_state(), before)


def test_partial_fc_goes_on_from_a_checkpoint(tmp_path):
    labels = torch.tensor([0, 1])
    sampler = make_partial(10)
    sampler.sample(labels)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = sampler.sample(labels)
    restored = make_partial(10)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(restored.sample(labels), expected)

"""Sampled centres in one process: against all centres, against dense rows, and wrong input."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mlbench.contracts import CentreLoss, CentreSampler, RowSampler
from mlbench.errors import TrainingError
from mlbench_losses.margin import AdaFace, ArcFace, CosFace, CurricularFace, Softmax, SubcenterArcFace
from mlbench_samplers import centre_products, cross_entropy, row_loops
from mlbench_samplers.class_centres import ClassCentres
from mlbench_samplers.row_optimizers import RowAdamW, RowSGD
from mlbench_samplers.sampled_centres import SampledCentres
from mlbench_samplers.step_check import StepCheck

LOSS = CosFace(scale=8.0, margin=0.35)


class SubCentres(nn.Module):
    """A loss with three centres a class, a margin that depends on the norms of the batch, and a learnt
    scale."""

    centres_per_class = 3

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0, dtype=torch.float64))

    def logits(self, cosines, targets, norms):
        margins = 0.1 * norms / norms.mean()
        hit = (targets.unsqueeze(1) == torch.arange(cosines.shape[1])) & (targets >= 0).unsqueeze(1)
        return self.scale * (cosines.logsumexp(2) - hit * margins.unsqueeze(1))


class AnyLogits(CosFace):
    """A loss of which nothing but its logits is known."""

    def logits(self, cosines, targets, norms):
        return super().logits(cosines, targets, norms)


class LearntMargin(nn.Module):
    """A loss that changes the target's logit alone, by a learnt margin and the norms of the batch."""

    centres_per_class = 1
    scale = 8.0

    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def target_logits(self, cosines, norms):
        return self.scale * (cosines - self.margin * norms / norms.mean())

    def logits(self, cosines, targets, norms):
        cosines, place = cosines.squeeze(2), targets.clamp_min(0).unsqueeze(1)
        own = self.target_logits(cosines.gather(1, place).squeeze(1), norms).unsqueeze(1)
        own = torch.where(targets.unsqueeze(1) >= 0, own, self.scale * cosines.gather(1, place))
        return (self.scale * cosines).scatter(1, place, own)


LOSSES = {
    "cosface": lambda: LOSS,
    "softmax": lambda: CosFace(scale=8.0, margin=0.0),
    "any logits": lambda: AnyLogits(scale=8.0, margin=0.35),
    "sub-centres": SubCentres,
    "learnt margin": LearntMargin,
}
each_loss = pytest.mark.parametrize("make_loss", LOSSES.values(), ids=list(LOSSES))
OPTIMIZERS = {
    "sgd": (partial(RowSGD, nesterov=True), partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    "momentum": (RowSGD, partial(torch.optim.SGD, momentum=0.9)),
    "adamw": (RowAdamW, torch.optim.AdamW),
}
each_optimizer = pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS.values(), ids=list(OPTIMIZERS))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=["at once", "in pieces"])
def _pieces(request, monkeypatch):
    if request.param == "in pieces":
        monkeypatch.setattr(cross_entropy, "_PIECE_BYTES", {"cpu": 1})
        # Blocks of seven centres: 40 are no multiple of it.
        monkeypatch.setattr(centre_products, "BLOCK_BYTES", {"cpu": 7 * 6 * 4})


def make(sampled=12, num_classes=40, *, dim=6, each=1, seed=5, optimizer=RowSGD, **options):
    return SampledCentres(num_classes, dim, each, sampled=sampled, seed=seed, optimizer=optimizer, **options)


def batch(count=8, num_classes=40, dim=6, dtype=torch.float64):
    embeddings = torch.randn(count, dim, dtype=dtype, requires_grad=True)
    return embeddings, torch.randint(num_classes, (count,))


def test_sampled_centres_are_a_row_sampler():
    sampler: CentreSampler = make()
    assert isinstance(sampler, RowSampler)
    assert sum(p.numel() for p in sampler.parameters()) == 40 * 6
    assert not isinstance(ClassCentres(4, 3, 1), RowSampler)


@pytest.mark.parametrize("num_classes", [40, 4097, 10_000])
def test_sampled_centres_have_the_initial_values_of_class_centres(num_classes):
    torch.manual_seed(1)
    whole = ClassCentres(num_classes, 3, 2).centres
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(make(num_classes=num_classes, dim=3, each=2).centres, whole)
    assert torch.equal(torch.rand(1), after)


@each_loss
@each_optimizer
@pytest.mark.usefixtures("_pieces")
def test_all_classes_sampled_equals_class_centres(make_loss, ours, theirs):
    loss = make_loss()
    each = loss.centres_per_class
    sampler = make(40, each=each, optimizer=ours).double()
    whole = ClassCentres(40, 6, each).double()
    whole.load_state_dict({"centres": sampler.centres})
    optimizer = theirs(whole.parameters(), lr=0.1, weight_decay=0.01)
    for _ in range(4):
        embeddings, labels = batch()
        own = embeddings.detach().clone().requires_grad_()
        expected, value = whole(embeddings, labels, loss), sampler(own, labels, loss)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        parameters = list(loss.parameters()) if isinstance(loss, nn.Module) else []
        slopes = torch.autograd.grad(expected, [whole.centres, embeddings, *parameters])
        ours_slopes = torch.autograd.grad(value, [sampler.stand_in, own, *parameters])
        torch.testing.assert_close(ours_slopes[1:], slopes[1:], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours_slopes[0], slopes[0].norm(), rtol=1e-10, atol=1e-12)
        whole.centres.grad, sampler.stand_in.grad = slopes[0], ours_slopes[0]
        optimizer.step()
        sampler.update(0.1, 0.01)
        torch.testing.assert_close(sampler.centres, whole.centres.data, rtol=1e-10, atol=1e-12)


@each_loss
@each_optimizer
def test_a_step_is_a_dense_step_of_its_rows(make_loss, ours, theirs):
    loss = make_loss()
    sampler = make(each=loss.centres_per_class, optimizer=ours).double()
    before = copy.deepcopy(sampler)
    embeddings, labels = batch()
    chosen = copy.deepcopy(sampler).sample(labels)
    assert len(chosen) == 12

    rows = ClassCentres(12, 6, loss.centres_per_class).double()
    rows.load_state_dict({"centres": sampler.centres[chosen]})
    expected = rows(embeddings, torch.searchsorted(chosen, labels), loss)
    expected.backward()
    theirs(rows.parameters(), lr=0.1, weight_decay=0.01).step()
    slope, embeddings.grad = embeddings.grad, None

    value = sampler(embeddings, labels, loss)
    value.backward()
    sampler.update(0.1, 0.01)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(embeddings.grad, slope, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(sampler.centres[chosen], rows.centres.data, rtol=1e-10, atol=1e-12)
    others = torch.tensor([k not in chosen.tolist() for k in range(40)])
    for name, state in sampler.state_dict().items():
        if state.ndim:
            assert torch.equal(state[others], before.state_dict()[name][others]), name
            assert not torch.equal(state[~others], before.state_dict()[name][~others]), name


@each_loss
@pytest.mark.usefixtures("_pieces")
def test_gradients_match_finite_differences(make_loss):
    loss = make_loss()
    sampler = make(each=loss.centres_per_class).double()
    embeddings, labels = batch(5)
    chosen = sampler.sample(labels)
    sampler.sample = lambda labels: chosen
    assert torch.autograd.gradcheck(lambda x: sampler(x, labels, loss), embeddings)
    if isinstance(loss, nn.Module):
        for parameter in loss.parameters():
            assert torch.autograd.gradcheck(lambda _: sampler(embeddings, labels, loss), parameter)

    sampler.stand_in.grad = None
    sampler(embeddings, labels, loss).backward()
    start = sampler.centres.clone()
    sampler.optimizer.mu = 0.0
    sampler.update(1.0, 0.0)
    slope = start - sampler.centres
    torch.testing.assert_close(slope.norm(), sampler.stand_in.grad)
    for row, centre, column in ((chosen[0], 0, 0), (chosen[5], -1, 3), (labels[0], 0, 5)):
        values = []
        for offset in (1e-6, -1e-6):
            with torch.no_grad():
                sampler.centres.copy_(start)
                sampler.centres[row, centre, column] += offset
                values.append(sampler(embeddings, labels, loss))
        difference = (values[0] - values[1]) / 2e-6
        torch.testing.assert_close(slope[row, centre, column], difference, rtol=1e-5, atol=1e-9)


def test_clipping_and_scaling_of_the_stand_in_apply_to_the_centres():
    sampler, factor = make().double(), 0.25
    other = copy.deepcopy(sampler)
    embeddings, labels = batch()
    (1024.0 * sampler(embeddings, labels, LOSS)).backward()  # loss scaling
    sampler.stand_in.grad *= factor / 1024  # unscaling and clipping
    (factor * other(embeddings, labels, LOSS)).backward()
    for each in (sampler, other):
        each.update(0.1, 0.01)
    torch.testing.assert_close(sampler.centres, other.centres, rtol=1e-12, atol=1e-14)


def test_half_precision_embeddings_keep_small_gradients_under_loss_scaling():
    sampler = make(dim=64)
    embeddings = (1000 * torch.randn(4, 64)).half().requires_grad_()
    labels = torch.arange(4)
    chosen = sampler.sample(labels)
    sampler.sample = lambda labels: chosen
    (1e5 * sampler(embeddings, labels, LOSS)).backward()
    exact = embeddings.detach().float().requires_grad_()
    (1e5 * sampler(exact, labels, LOSS)).backward()
    assert embeddings.grad.dtype == torch.float16
    torch.testing.assert_close(embeddings.grad.float(), exact.grad, rtol=2e-3, atol=1e-4)


def test_without_gradient_the_loss_is_the_same():
    sampler, (embeddings, labels) = make().double(), batch()
    expected = copy.deepcopy(sampler)(embeddings, labels, LOSS)
    with torch.no_grad():
        value = sampler(embeddings, labels, LOSS)
    assert torch.equal(value, expected.detach())
    assert not value.requires_grad


def test_a_centre_loss_may_use_neither_cosines_nor_gradients():
    class Constant:
        centres_per_class = 1

        def logits(self, cosines, targets, norms):
            return torch.zeros(cosines.shape[:2], dtype=cosines.dtype)

    assert isinstance(Constant(), CentreLoss)
    sampler, (embeddings, labels) = make().double(), batch()
    start = sampler.centres.clone()
    value = sampler(embeddings, labels, Constant())
    value.backward()
    sampler.update(0.1, 0.0)
    assert value.item() == pytest.approx(math.log(12))
    assert not embeddings.grad.any()
    assert torch.equal(sampler.centres, start)


def test_cosines_of_collinear_vectors_have_no_gradient_and_stay_in_range():
    sampler = make(40)
    embeddings = (1e3 * sampler.centres[:, 0].detach()).requires_grad_()
    sampler(embeddings, torch.arange(40), CosFace(scale=1.0, margin=0.0)).backward()
    assert bool(embeddings.grad.isfinite().all())


def test_sampled_centres_compute_in_float32_under_autocast():
    sampler, (embeddings, labels) = make(dim=64), batch(dim=64, dtype=torch.bfloat16)
    expected = copy.deepcopy(sampler)(embeddings.float(), labels, LOSS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = sampler(embeddings, labels, LOSS)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@each_optimizer
def test_bfloat16_centres_learn(ours, theirs):
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(3)
        sampler = make(20, dim=16, optimizer=ours, dtype=dtype)
        assert all(
            state.dtype in (dtype, torch.int32, torch.int64) for state in sampler.state_dict().values()
        )
        embeddings = torch.randn(40, 16, requires_grad=True)
        for step in range(60):
            labels = torch.randperm(40, generator=torch.Generator().manual_seed(step))[:8]
            sampler.stand_in.grad = None
            sampler(embeddings[labels], labels, LOSS).backward()
            sampler.update(0.02, 0.0)
        with torch.no_grad():
            losses[dtype] = sampler(embeddings[:10], torch.arange(10), LOSS).item()
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.05)
    assert losses[torch.float32] < 1.5


def test_sampled_centres_differ_between_steps_and_repeat_with_the_seed():
    labels = torch.tensor([0, 1])
    first, second, other = make(), make(), make(seed=6)
    draws = [first.sample(labels).tolist() for _ in range(3)]
    assert draws == [second.sample(labels).tolist() for _ in range(3)]
    assert len({tuple(draw) for draw in draws}) == 3
    assert draws[0] != other.sample(labels).tolist()


def test_sampled_centres_leave_the_global_generator_alone():
    sampler, (embeddings, labels) = make().double(), batch()
    before = torch.get_rng_state()
    sampler(embeddings, labels, LOSS).backward()
    sampler.update(0.1, 0.1)
    assert torch.equal(torch.get_rng_state(), before)


def run(sampler, steps):
    losses = []
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        embeddings = torch.randn(8, 6, generator=generator, requires_grad=True)
        sampler.stand_in.grad = None
        loss = sampler(embeddings, torch.randint(40, (8,), generator=generator), LOSS)
        loss.backward()
        sampler.update(0.1, 0.01)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_optimizer
def test_sampled_centres_continue_from_a_state_dict(ours, theirs, dtype, tmp_path):
    sampler = make(optimizer=ours, dtype=dtype)
    run(sampler, range(3))
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    restored = make(optimizer=ours, dtype=dtype)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert run(restored, range(3, 6)) == run(sampler, range(3, 6))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([0, 40]),
            r"step 1: labels run from 0 to 40; expected 0 to 39, as there are 40 classes",
        ),
        (torch.tensor([-1, 2]), r"step 1: labels run from -1 to 2; expected 0 to 39"),
        (torch.tensor([0.0, 1.0]), r"step 1: labels are torch\.float32; expected integers"),
        (torch.tensor([True, False]), r"step 1: labels are torch\.bool; expected integers"),
    ],
)
def test_sampled_centres_refuse_wrong_labels(labels, message):
    with pytest.raises(TrainingError, match=message):
        make()(torch.randn(2, 6), labels, LOSS)


def test_sampled_centres_take_any_integers():
    expected = make()(torch.ones(2, 6), torch.tensor([4, 0]), LOSS)
    torch.manual_seed(0)
    first = make()
    second = copy.deepcopy(first)
    labels = torch.tensor([4, 0])
    expected = first(torch.ones(2, 6), labels, LOSS)
    assert torch.equal(second(torch.ones(2, 6), labels.to(torch.uint8), LOSS), expected)


def test_sampled_centres_refuse_more_labels_than_centres():
    message = r"step 1: the batch holds 5 different labels, more than the 4 centres of a step; raise"
    with pytest.raises(TrainingError, match=message):
        make(4)(torch.randn(6, 6), torch.tensor([0, 1, 2, 3, 4, 4]), LOSS)
    make(4)(torch.randn(6, 6), torch.tensor([0, 1, 2, 3, 3, 3]), LOSS)


class Infinite(CosFace):
    def logits(self, cosines, targets, norms):
        return super().logits(cosines, targets, norms) * float("inf")


@pytest.mark.parametrize(
    ("value", "loss", "message"),
    [
        (
            float("nan"),
            LOSS,
            r"step 3: the embeddings are not finite; the weights are those of the step before",
        ),
        (float("inf"), LOSS, r"step 3: the embeddings are not finite"),
        (1.0, Infinite(scale=8.0, margin=0.0), r"step 3: the loss is nan: not finite"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_and_change_nothing(value, loss, message):
    sampler = make()
    run(sampler, range(2))
    before = copy.deepcopy(sampler.state_dict())
    embeddings = torch.ones(2, 6)
    embeddings[1, 3] = value
    with pytest.raises(TrainingError, match=message):
        sampler(embeddings, torch.tensor([0, 1]), loss)
    for name, state in sampler.state_dict().items():
        assert name == "_extra_state" or torch.equal(state, before[name])
    assert math.isfinite(run(sampler, [2])[0])


@pytest.fixture
def _whole_tensors(monkeypatch):
    """The operations of a GPU without Triton."""
    monkeypatch.setattr(row_loops, "find_loops", lambda weights: None)


@each_loss
@each_optimizer
def test_compiled_loops_and_whole_tensors_agree(make_loss, ours, theirs, monkeypatch):
    loss = make_loss()
    sampler = make(each=loss.centres_per_class, optimizer=ours).double()
    other = copy.deepcopy(sampler)
    for _ in range(3):
        embeddings, labels = batch()
        results = []
        for each in (sampler, other):
            own = embeddings.detach().clone().requires_grad_()
            if each is other:
                monkeypatch.setattr(row_loops, "find_loops", lambda weights: None)
            each.stand_in.grad = None
            value = each(own, labels, loss)
            value.backward()
            each.update(0.1, 0.01)
            results.append([value.detach(), own.grad, each.stand_in.grad, each.centres.data])
            monkeypatch.undo()
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_embeddings_at_their_centre_have_the_loss_of_class_centres_at_any_scale():
    """exp(scale * cosine) would overflow in float32 for a scale of 200."""
    for scale in (64.0, 200.0):
        sampler, labels = make(40), torch.arange(8)
        embeddings = 3 * sampler.centres[:8, 0]
        whole = ClassCentres(40, 6, 1)
        whole.load_state_dict({"centres": sampler.centres})
        loss = CosFace(scale=scale, margin=0.4)
        torch.testing.assert_close(sampler(embeddings, labels, loss), whole(embeddings, labels, loss))


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.usefixtures("_whole_tensors")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loss", [LOSS, AnyLogits(scale=8.0, margin=0.35)], ids=["targets", "logits"])
def test_a_step_has_as_many_operations_for_any_number_of_classes_and_one_wait(loss, dtype):
    names = []
    for num_classes in (10_000, 1_000_000):
        sampler = make(500, num_classes, dtype=dtype)
        embeddings, labels = batch(16, num_classes, dtype=torch.float32)
        with Operations() as operations:
            sampler(embeddings, labels, loss).backward()
            sampler.update(0.1, 0.01)
        names.append(operations.names)
    assert names[0] == names[1]
    assert len(names[0]) < 300
    # What waits for a GPU: a number for the host, and shapes that depend on values.
    assert names[0].count("_local_scalar_dense") == 1
    waiting = {
        "nonzero",
        "unique",
        "_unique",
        "_unique2",
        "unique_dim",
        "masked_select",
        "is_nonzero",
        "equal",
    }
    assert not waiting & set(names[0])


FAKE_LOSSES = (
    CosFace(), CosFace(scale=65.0), ArcFace(), Softmax(), SubcenterArcFace(), AdaFace(), CurricularFace(),
)  # fmt: skip


@pytest.mark.usefixtures("_whole_tensors")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_on_a_fake_gpu_reads_no_value_before_its_check(dtype, monkeypatch):
    """A fake tensor has no values, and its operations refuse tensors of two devices."""
    monkeypatch.setattr(SampledCentres, "_generator", lambda *_: torch.Generator())
    monkeypatch.setattr(StepCheck, "refuse", lambda *_: None)
    for options in FAKE_LOSSES:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            loss = options.build(None)
            loss = loss.to("cuda") if isinstance(loss, nn.Module) else loss
            each = loss.centres_per_class
            for num_classes, optimizer in ((1000, RowSGD), (10_000, RowAdamW)):
                sampler = make(100, num_classes, each=each, optimizer=optimizer, dtype=dtype, device="cuda")
                labels = torch.randint(num_classes, (8,), device="cuda")
                units = torch.randn(8, 6, device="cuda")
                assert sampler(units, labels, loss).device.type == "cuda"
                centres, rows = sampler.centres.flatten(0, 1), torch.arange(100, device="cuda")
                slopes, inverse = torch.randn(8, 100, device="cuda"), torch.rand(100, device="cuda")
                products = sampler._products
                assert products.pull(centres, slopes, rows).shape == (8, 6)
                _, square = products.gradient(centres, units, rows, slopes, inverse)
                sampler.optimizer.step(
                    sampler.centres.flatten(1),
                    rows,
                    torch.randn(100, 6 * each, device="cuda"),
                    scale=square,
                    lr=0.1,
                    weight_decay=0.1,
                    noise=sampler._noise(slice(0, 100), 6 * each) if dtype == torch.bfloat16 else None,
                )

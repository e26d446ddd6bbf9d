"""What a training step asks of its device, counted: operators, and waits for their results."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mlbench.training import step as module
from mlbench.training.assembly import assemble
from mlbench.training.step import Step
from mlbench_losses import linear_classifier
from mlbench_samplers.class_centres import ClassCentres

#: Operators that read a value or a size that the device has yet to compute.
WAITS = {"aten._local_scalar_dense", "aten.nonzero", "aten.unique2", "aten._unique2", "aten.masked_select"}

#: Operators that give the device nothing to do, or work on the optimiser's counter in the CPU's memory.
FREE = {
    *("aten.view", "aten.detach", "aten.unsqueeze", "aten.slice", "aten.expand", "aten.t", "aten.alias"),
    *("aten.lift_fresh", "aten._local_scalar_dense", "aten.permute", "aten._unsafe_view", "aten.select"),
}


class Counted(TorchDispatchMode):
    """Counts the operators of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        self.operators[str(operator.overloadpacket)] += 1
        return operator(*arguments, **(options or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch) -> None:
    """Without the checks of values that only the CPU affords."""
    monkeypatch.setattr(module, "check_finite", lambda losses, step: None)
    monkeypatch.setattr(ClassCentres, "_check", lambda self, labels: None)
    monkeypatch.setattr(linear_classifier, "check_labels", lambda labels, classes: None)


def counted(assembly, updates: bool = True) -> Counter[str]:
    """Operators of a step, from the indices of its images to the updated weights. updates: whether those of
    the optimiser count."""
    feed, labels = assembly.feed, torch.from_numpy(assembly.feed.labels)
    step = Step(assembly.case, assembly.objective, assembly.fabric, 10)
    assembly.objective.train()
    stream = feed.batches([[3, 0, 9, 4, 5, 1, 2, 8]] * 3, labels, 0)
    step(next(stream)), step(next(stream))
    if not updates:
        step.optimizer.step = lambda: None
    with Counted() as mode:
        step(next(stream))
    return mode.operators


def work(operators: Counter[str]) -> Counter[str]:
    return Counter({name: count for name, count in operators.items() if name not in FREE})


def bare(assembly) -> Counter[str]:
    """The same by hand."""
    network, (centres,) = assembly.model, assembly.objective.terms[0].centres.parameters()
    parameters = [*network.parameters(), centres]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-3)
    images = torch.cat(list(assembly.feed.inputs.batches([range(24)])))
    labels = torch.from_numpy(assembly.feed.labels)
    network.train()

    def step() -> None:
        indices = torch.tensor([3, 0, 9, 4, 5, 1, 2, 8])
        batch, targets = images[indices], labels[indices]
        pixels = (batch.float().contiguous(memory_format=torch.channels_last) - 127.5) / 127.5
        backbone = network.backbone
        embeddings = network.neck(backbone.trained(backbone.frozen(pixels)))
        cosines = F.normalize(embeddings) @ F.normalize(centres.squeeze(1)).T
        margins = F.one_hot(targets, len(centres)) * 0.1
        loss = F.cross_entropy((cosines - margins) * 16, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5)
        optimizer.step()

    step(), step()
    with Counted() as mode:
        step()
    return mode.operators


def test_a_step_has_hardly_more_operators_than_a_bare_loop(planned, as_on_a_gpu) -> None:
    case = planned(overrides=("recipe.schedule=constant",)).cases[0]
    counts = [work(counted(assemble(case, "cpu"))), work(bare(assemble(case, "cpu")))]
    assert counts[0].total() <= counts[1].total() + 5, counts[0] - counts[1]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("loss=arcface",),
        ("loss=adaface",),
        ("loss=curricularface",),
        ("loss=magface",),
        ("loss=null", "losses={magface: {}, triplet_pair: {}}", "batch_sampler=m_per_class"),
        ("loss={name: subcenter_arcface, centres_per_class: 2}",),
        ("loss={name: triplet_pair}", "sampler=null", "batch_sampler=m_per_class"),
        ("mixing=cutmix",),
        ("mixing=mixup", "loss=bce", "sampler=null"),
        ("recipe.ema=0.9",),
        ("compute.accumulate=2",),
        ("recipe.optimizer=lamb",),
        ("augmentation=jitter", "recipe.views=2"),
    ],
)
def test_no_step_waits_for_its_device(planned, as_on_a_gpu, overrides) -> None:
    found = counted(assemble(planned(overrides=overrides).cases[0], "cpu"), updates=False)
    assert {name: count for name, count in found.items() if name in WAITS} == {}

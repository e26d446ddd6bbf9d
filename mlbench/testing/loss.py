"""Checks of losses, with and without class centres."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from mlbench.contracts import CentreLoss, LossShape, MixedLoss, Need, RegularisedLoss
from mlbench.contracts.options import LossContext
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.lr_factors import lr_factors_match_parameters

__all__ = ["CHECKS"]

_PROVIDED = {"num_classes": 6, "dim": 8}


class _Trial:
    """A loss and a batch with two images of every class; embeddings (N, D) of any length."""

    def __init__(self, subject: Subject, seed: int = 0) -> None:
        with torch_seed(seed, "loss"):
            self.loss: Any = subject.build(**_PROVIDED)
        context = LossContext(**{**_PROVIDED, **subject.arguments})
        self.classes, self.dim = context.num_classes, context.dim
        self.labels = torch.arange(self.classes).repeat(2)
        self.embeddings = self.normal("embeddings", len(self.labels), self.dim).requires_grad_()

    def normal(self, name: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch_generator(0, name))

    def cosines(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Cosines (N, classes, centres_per_class) to fixed centres."""
        count = self.loss.centres_per_class
        centres = normalize(self.normal("centres", self.classes, count, self.dim), dim=2)
        unit = normalize(embeddings.float(), dim=1)
        return torch.einsum("nd,kcd->nkc", unit, centres).clamp(-1, 1)

    def value(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if isinstance(self.loss, CentreLoss):
            norms = embeddings.float().norm(dim=1)
            value = cross_entropy(self.loss.logits(self.cosines(embeddings), labels, norms), labels)
        else:
            value = self.loss(embeddings, labels)
        is_scalar = isinstance(value, torch.Tensor) and value.ndim == 0
        expect(is_scalar, "a loss is a scalar, a tensor without dimensions")
        return value


def _expect_gradient(value: torch.Tensor, embeddings: torch.Tensor, when: str) -> None:
    expect(torch.isfinite(value), f"the loss is finite {when}; it is {float(value.detach()):g}")
    expect(value.requires_grad, f"the loss has a gradient, which may be 0, {when}")
    (gradient,) = torch.autograd.grad(value, embeddings, allow_unused=True)
    if gradient is not None:
        expect(torch.isfinite(gradient).all(), f"the gradient of the embeddings is finite {when}")


def loss_has_a_finite_gradient(subject: Subject) -> None:
    trial = _Trial(subject)
    usable = isinstance(trial.loss, CentreLoss) or callable(getattr(trial.loss, "forward", trial.loss))
    expect(usable, "a loss has centres_per_class and logits(), or is called with embeddings and labels")
    value = trial.value(trial.embeddings, trial.labels)
    expect(torch.isfinite(value), f"the loss is finite; it is {float(value.detach()):g}")
    expect(value.requires_grad, "the loss has a gradient")
    torch.autograd.backward(value)
    gradient = trial.embeddings.grad
    expect(gradient is not None, "the loss has a gradient with respect to the embeddings")
    expect(gradient is not None and torch.isfinite(gradient).all(), "the embeddings' gradient is finite")
    if isinstance(trial.loss, nn.Module):
        for name, parameter in trial.loss.named_parameters():
            finite = parameter.grad is None or torch.isfinite(parameter.grad).all()
            expect(finite, f"the gradient of {name} is finite")


def batches_without_pairs_are_finite(subject: Subject) -> None:
    for when, labels in (
        ("in a batch without positive pairs", torch.arange(_Trial(subject).classes)),
        ("in a batch of one class", torch.zeros(4, dtype=torch.int64)),
    ):
        trial = _Trial(subject)
        embeddings = trial.embeddings[: len(labels)].detach().requires_grad_()
        _expect_gradient(trial.value(embeddings, labels), embeddings, when)


def extreme_embeddings_are_finite(subject: Subject) -> None:
    """Embeddings that are equal, opposite, or at a class centre."""
    trial = _Trial(subject)
    with torch.no_grad():
        one = trial.embeddings[:1]
        embeddings = torch.cat([one, one, -one]).repeat(2, 1)
    embeddings.requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    _expect_gradient(trial.value(embeddings, labels), embeddings, "where embeddings are equal or opposite")
    if not isinstance(trial.loss, CentreLoss):
        return
    limits = torch.tensor([1.0, -1.0, 0.0]).repeat(2)
    cosines = limits[:, None, None].repeat(1, trial.classes, trial.loss.centres_per_class).requires_grad_()
    logits = trial.loss.logits(cosines, labels, torch.ones(6))
    _expect_gradient(cross_entropy(logits, labels), cosines, "at cosines of 1 and -1")


def logits_keep_the_contract(subject: Subject) -> None:
    trial = _Trial(subject)
    if not isinstance(trial.loss, CentreLoss):
        return
    expect(trial.loss.centres_per_class >= 1, "centres_per_class is at least 1")
    with torch.no_grad():
        cosines, norms = trial.cosines(trial.embeddings), trial.embeddings.norm(dim=1)
        absent = torch.where(torch.arange(len(trial.labels)) % 2 == 0, trial.labels, -1)
        logits = trial.loss.logits(cosines, absent, norms)
        wanted = (len(absent), trial.classes)
        expect(tuple(logits.shape) == wanted, f"logits are (N, K), here {wanted}, not {tuple(logits.shape)}")
        expect(torch.isfinite(logits).all(), "logits are finite where a target is not among the K (-1)")
        if getattr(trial.loss, "per_example", False):
            few = trial.loss.logits(cosines[2:5], absent[2:5], norms[2:5])
            close = torch.allclose(few, logits[2:5], rtol=1e-4, atol=1e-5)
            expect(close, "per_example: logits of an example do not depend on the others")
        if callable(getattr(trial.loss, "target_logits", None)):
            _expect_target_logits(trial, cosines.squeeze(2), norms)


def _expect_target_logits(trial: _Trial, cosines: torch.Tensor, norms: torch.Tensor) -> None:
    """cosines: (N, K)."""
    loss, column = trial.loss, trial.labels.unsqueeze(1)
    own = loss.target_logits(cosines.gather(1, column).squeeze(1), norms).unsqueeze(1)
    close = torch.allclose(
        (loss.scale * cosines).scatter(1, column, own),
        loss.logits(cosines.unsqueeze(2), trial.labels, norms),
        rtol=1e-4,
        atol=1e-5,
    )
    expect(close, "logits are target_logits at the target, and scale times the cosine elsewhere")


def loss_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(**_PROVIDED)
    if shape is None:
        return
    expect(isinstance(shape, LossShape), "predict returns a LossShape")
    loss = _Trial(subject).loss
    parameters = sum(p.numel() for p in loss.parameters()) if isinstance(loss, nn.Module) else 0
    expect(
        shape.parameters == parameters,
        f"predict returns {shape.parameters} parameters; there are {parameters}",
    )
    centres = loss.centres_per_class if isinstance(loss, CentreLoss) else 0
    predicted = shape.centres_per_class
    expect(predicted == centres, f"predict returns {predicted} centres for each class; there are {centres}")


def loss_states_its_needs(subject: Subject) -> None:
    """A loss whose gradient is 0 on batches without one kind of pair needs such pairs."""
    shape = subject.predict(**_PROVIDED)
    trial = _Trial(subject)
    if shape is None:
        return
    odd = sorted(set(shape.needs) - set(get_args(Need)))
    expect(not odd, f"`needs` is a tuple of {', '.join(get_args(Need))}; not so: {', '.join(odd)}")
    if isinstance(trial.loss, CentreLoss):
        return
    for need, labels in (
        ("positives", torch.arange(trial.classes)),
        ("negatives", torch.zeros(4, dtype=torch.int64)),
    ):
        embeddings = trial.embeddings[: len(labels)].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(trial.value(embeddings, labels), embeddings, allow_unused=True)
        learns = gradient is not None and bool(gradient.any())
        expect(
            learns or need in shape.needs,
            f"the gradient is 0 without {need}, so predict returns that the loss needs {need}",
        )


def loss_can_be_stored(subject: Subject) -> None:
    """A loss gives the same value with the state of another."""
    first, second = _Trial(subject), _Trial(subject, seed=1)
    first.value(first.embeddings, first.labels)
    if isinstance(first.loss, nn.Module):
        second.loss.load_state_dict(copy.deepcopy(first.loss.state_dict()))
        values = [float(each.value(each.embeddings, each.labels).detach()) for each in (first, second)]
        expect(values[0] == values[1], "state_dict holds everything that the loss depends on")


def mixed_with_a_share_of_one_is_the_loss(subject: Subject) -> None:
    trial = _Trial(subject)
    if not isinstance(trial.loss, MixedLoss):
        return
    others = trial.labels.flip(0)
    whole = trial.loss.mixed(trial.embeddings, trial.labels, others, 1.0)
    plain = trial.value(trial.embeddings, trial.labels)
    expect(torch.allclose(whole, plain, rtol=1e-4), "with a share of 1, mixed() is the loss of the labels")
    for share in (0.0, 0.3):
        value = trial.loss.mixed(trial.embeddings, trial.labels, others, share)
        _expect_gradient(value, trial.embeddings, f"of images mixed with a share of {share}")


def regularisers_are_finite_scalars(subject: Subject) -> None:
    """Terms of a `RegularisedLoss`, of a batch, of one embedding, and of embeddings of length 0."""
    trial = _Trial(subject)
    if not isinstance(trial.loss, RegularisedLoss):
        return
    names = None
    for when, embeddings in (
        ("of a batch", trial.embeddings),
        ("of one embedding", trial.embeddings[:1]),
        ("of embeddings of length 0", torch.zeros(3, trial.dim, requires_grad=True)),
    ):
        found = trial.loss.regularisers(embeddings)
        named = isinstance(found, Mapping) and all(isinstance(name, str) and name for name in found)
        expect(named, "regularisers returns scalars by name")
        expect(names in (None, set(found)), "regularisers returns the same names for every batch")
        names = set(found)
        for name, value in found.items():
            is_scalar = isinstance(value, torch.Tensor) and value.ndim == 0
            expect(is_scalar, f"regulariser {name} is a scalar, a tensor without dimensions; average over N")
            number = float(value.detach())
            expect(math.isfinite(number), f"regulariser {name} is finite {when}; it is {number:g}")
            if value.requires_grad:
                _expect_gradient(value, embeddings, f"{when}, in regulariser {name}")


def loss_runs_in_bfloat16(subject: Subject) -> None:
    trial = _Trial(subject)
    embeddings = trial.embeddings.detach().to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = trial.value(embeddings, trial.labels)
    _expect_gradient(value, embeddings, "under bfloat16 autocast")


CHECKS = {
    "loss": (
        loss_has_a_finite_gradient,
        batches_without_pairs_are_finite,
        extreme_embeddings_are_finite,
        logits_keep_the_contract,
        loss_predict_is_what_is_built,
        loss_states_its_needs,
        loss_can_be_stored,
        lr_factors_match_parameters,
        mixed_with_a_share_of_one_is_the_loss,
        regularisers_are_finite_scalars,
        loss_runs_in_bfloat16,
    )
}

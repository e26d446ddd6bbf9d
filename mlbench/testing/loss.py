"""Checks of losses, with and without class centres."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from mlbench.contracts import CentreLoss, LossShape, MixedLoss, Need
from mlbench.contracts.options import LossContext
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.finite import expect_finite

__all__ = ["CHECKS", "PROVIDED", "Trial", "described", "expect_gradient"]

#: Context of the losses under test.
PROVIDED = {"num_classes": 6, "dim": 8}


class Trial:
    """A loss and a batch with two images of every class; embeddings (N, D) of any length.

    seeded: what the loss is built in; by default, with a fixed seed of the global generators."""

    def __init__(self, subject: Subject, seeded: AbstractContextManager[None] | None = None) -> None:
        with seeded or torch_seed(0, "loss"):
            self.loss: Any = subject.build(**PROVIDED)
        context = LossContext(**{**PROVIDED, **subject.arguments})
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
        expect(
            is_scalar,
            f"the loss is {described(value)}; return a scalar, a tensor without dimensions, such as a mean",
        )
        return value


def described(value: object) -> str:
    """A value that should be a scalar, for messages."""
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


def expect_gradient(value: torch.Tensor, embeddings: torch.Tensor, when: str) -> None:
    """Raise AssertionError unless the scalar and its gradient with respect to the embeddings are finite.
    when: for messages, such as "in a batch of one class"."""
    expect(
        torch.isfinite(value),
        f"the loss is {float(value.detach()):g} {when}; return 0 * embeddings.sum() where there is nothing "
        "to compare, and clamp before roots, logarithms and divisions",
    )
    expect(
        value.requires_grad,
        f"the loss has no gradient {when}; return 0 * embeddings.sum(), which has one, not a new tensor",
    )
    (gradient,) = torch.autograd.grad(value, embeddings, allow_unused=True)
    if gradient is not None:
        expect(
            torch.isfinite(gradient).all(),
            f"the gradient of the embeddings is not finite {when}; clamp before sqrt, acos, log and "
            "division, whose gradients are infinite there",
        )


def loss_has_a_finite_gradient(subject: Subject) -> None:
    trial = Trial(subject)
    usable = isinstance(trial.loss, CentreLoss) or callable(getattr(trial.loss, "forward", trial.loss))
    expect(
        usable,
        f"build returns {trial.loss!r}; return a loss with centres_per_class and logits(), or one that is "
        "called with embeddings and labels",
    )
    value = trial.value(trial.embeddings, trial.labels)
    expect(
        torch.isfinite(value),
        f"the loss is {float(value.detach()):g}; compute it so that it is finite for normal embeddings",
    )
    expect(
        value.requires_grad,
        "the loss has no gradient; compute it from the embeddings without detach(), item() or no_grad",
    )
    torch.autograd.backward(value)
    gradient = trial.embeddings.grad
    expect(
        gradient is not None,
        "the loss has no gradient with respect to the embeddings; compute it from them without detach()",
    )
    expect(
        gradient is not None and torch.isfinite(gradient).all(),
        "the gradient of the embeddings is not finite; clamp before roots, logarithms and divisions",
    )
    if isinstance(trial.loss, nn.Module):
        for name, parameter in trial.loss.named_parameters():
            finite = parameter.grad is None or torch.isfinite(parameter.grad).all()
            expect(
                finite,
                f"the gradient of {name} is not finite; clamp before roots, logarithms and divisions",
            )


def batches_without_pairs_are_finite(subject: Subject) -> None:
    for when, labels in (
        ("in a batch without positive pairs", torch.arange(Trial(subject).classes)),
        ("in a batch of one class", torch.zeros(4, dtype=torch.int64)),
    ):
        trial = Trial(subject)
        embeddings = trial.embeddings[: len(labels)].detach().requires_grad_()
        expect_gradient(trial.value(embeddings, labels), embeddings, when)


def extreme_embeddings_are_finite(subject: Subject) -> None:
    """Embeddings that are equal, opposite, or at a class centre."""
    trial = Trial(subject)
    with torch.no_grad():
        one = trial.embeddings[:1]
        embeddings = torch.cat([one, one, -one]).repeat(2, 1)
    embeddings.requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    expect_gradient(trial.value(embeddings, labels), embeddings, "where embeddings are equal or opposite")
    if not isinstance(trial.loss, CentreLoss):
        return
    limits = torch.tensor([1.0, -1.0, 0.0]).repeat(2)
    cosines = limits[:, None, None].repeat(1, trial.classes, trial.loss.centres_per_class).requires_grad_()
    logits = trial.loss.logits(cosines, labels, torch.ones(6))
    expect_gradient(cross_entropy(logits, labels), cosines, "at cosines of 1 and -1")


def logits_keep_the_contract(subject: Subject) -> None:
    trial = Trial(subject)
    if not isinstance(trial.loss, CentreLoss):
        return
    count = trial.loss.centres_per_class
    expect(count >= 1, f"centres_per_class is {count}; set it to the number of centres of a class, mostly 1")
    with torch.no_grad():
        cosines, norms = trial.cosines(trial.embeddings), trial.embeddings.norm(dim=1)
        absent = torch.where(torch.arange(len(trial.labels)) % 2 == 0, trial.labels, -1)
        expect_finite("logits()", trial.loss.logits(cosines, trial.labels, norms))
        logits = trial.loss.logits(cosines, absent, norms)
        wanted = (len(absent), trial.classes)
        expect(
            tuple(logits.shape) == wanted,
            f"logits() returns shape {tuple(logits.shape)} where (N, K) is {wanted}; return one logit for "
            "each class, the largest or the sum over the last axis of the cosines",
        )
        expect(
            torch.isfinite(logits).all(),
            "logits are not finite where a target is -1; apply the margin to targets >= 0 alone (-1: the "
            "target is not among the K classes)",
        )
        if getattr(trial.loss, "per_example", False):
            few = trial.loss.logits(cosines[2:5], absent[2:5], norms[2:5])
            close = torch.allclose(few, logits[2:5], rtol=1e-4, atol=1e-5)
            expect(
                close,
                "the logits of an example change with the other examples of the batch; remove per_example, "
                "or compute each row from its own cosines, target and norm",
            )
        if callable(getattr(trial.loss, "target_logits", None)):
            _expect_target_logits(trial, cosines.squeeze(2), norms)


def _expect_target_logits(trial: Trial, cosines: torch.Tensor, norms: torch.Tensor) -> None:
    """cosines: (N, K)."""
    loss, column = trial.loss, trial.labels.unsqueeze(1)
    own = loss.target_logits(cosines.gather(1, column).squeeze(1), norms).unsqueeze(1)
    expect_finite("target_logits()", own)
    close = torch.allclose(
        (loss.scale * cosines).scatter(1, column, own),
        loss.logits(cosines.unsqueeze(2), trial.labels, norms),
        rtol=1e-4,
        atol=1e-5,
    )
    expect(
        close,
        "logits() does not return target_logits() at the target and `scale` times the cosine elsewhere; make "
        "them agree, or remove target_logits()",
    )


def loss_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(**PROVIDED)
    if shape is None:
        return
    expect(isinstance(shape, LossShape), f"predict returns {shape!r}; return a LossShape or None")
    loss = Trial(subject).loss
    own = loss.parameters() if isinstance(loss, nn.Module) else ()
    trained = sum(parameter.numel() for parameter in own if parameter.requires_grad)
    expect(
        shape.parameters == trained,
        f"predict returns {shape.parameters} parameters; there are {trained} trained ones; set "
        "LossShape.parameters to as many",
    )
    centres = loss.centres_per_class if isinstance(loss, CentreLoss) else 0
    predicted = shape.centres_per_class
    expect(
        predicted == centres,
        f"predict returns {predicted} centres for each class; there are {centres}; set "
        "LossShape.centres_per_class to the loss's, or to 0 for a loss of pairs",
    )


def loss_states_its_needs(subject: Subject) -> None:
    """A loss whose gradient is 0 on batches without one kind of pair needs such pairs."""
    shape = subject.predict(**PROVIDED)
    trial = Trial(subject)
    if shape is None:
        return
    odd = sorted(set(shape.needs) - set(get_args(Need)))
    expect(
        not odd,
        f"LossShape.needs has {', '.join(map(repr, odd))}; choose from {', '.join(get_args(Need))}",
    )
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
            f"the gradient is 0 in a batch without {need}; return LossShape(needs=({need!r},)) from predict, "
            "so that mlbench refuses batches from which the loss learns nothing",
        )


def mixed_with_a_share_of_one_is_the_loss(subject: Subject) -> None:
    trial = Trial(subject)
    if not isinstance(trial.loss, MixedLoss):
        return
    others = trial.labels.flip(0)
    whole = trial.loss.mixed(trial.embeddings, trial.labels, others, 1.0)
    plain = trial.value(trial.embeddings, trial.labels)
    expect_finite("the loss", plain.detach())
    expect_finite("mixed()", whole.detach())
    expect(
        torch.allclose(whole, plain, rtol=1e-4),
        f"with a share of 1, mixed() returns {float(whole.detach()):g} and the loss of the labels is "
        f"{float(plain.detach()):g}; weight `labels` by share and `others` by 1 - share",
    )
    for share in (0.0, 0.3):
        value = trial.loss.mixed(trial.embeddings, trial.labels, others, share)
        expect_gradient(value, trial.embeddings, f"of images mixed with a share of {share}")


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "loss": (
        loss_has_a_finite_gradient,
        batches_without_pairs_are_finite,
        extreme_embeddings_are_finite,
        logits_keep_the_contract,
        loss_predict_is_what_is_built,
        loss_states_its_needs,
        mixed_with_a_share_of_one_is_the_loss,
    )
}

"""The check of a loss's regularisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from mlbench.contracts import RegularisedLoss
from mlbench.contracts.options import LossContext
from mlbench.seeding import torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.loss import Trial, described, expect_gradient

__all__ = ["CHECKS"]


def regularisers_are_finite_scalars(subject: Subject) -> None:
    """Terms of a `RegularisedLoss`, of a batch, of one embedding, and of embeddings of length 0; and those of
    a loss that is an option of it."""
    trial = Trial(subject)
    if not isinstance(trial.loss, RegularisedLoss):
        _expect_no_inner(subject, trial)
        return
    names = None
    for when, embeddings in (
        ("of a batch", trial.embeddings),
        ("of one embedding", trial.embeddings[:1]),
        ("of embeddings of length 0", torch.zeros(3, trial.dim, requires_grad=True)),
    ):
        found = trial.loss.regularisers(embeddings)
        named = isinstance(found, Mapping) and all(isinstance(name, str) and name for name in found)
        expect(named, f"regularisers() returns a {type(found).__name__}; return scalars by name, as a dict")
        expect(
            names in (None, set(found)),
            f"regularisers() returns {', '.join(found)} {when}, and other names of a batch; return the "
            "same names for every batch",
        )
        names = set(found)
        for name, value in found.items():
            is_scalar = isinstance(value, torch.Tensor) and value.ndim == 0
            expect(is_scalar, f"regulariser {name} is {described(value)}; return a scalar: average over N")
            expect(
                torch.isfinite(value),
                f"regulariser {name} is {float(value.detach()):g} {when}; clamp before roots, logarithms and "
                "divisions",
            )
            if value.requires_grad:
                expect_gradient(value, embeddings, f"{when}, in regulariser {name}")


def _expect_no_inner(subject: Subject, trial: Trial) -> None:
    """Raise AssertionError where an inner loss has regularisers, which nothing but the outer one can call."""
    for path, entry, options in subject.entry.inner_components(subject.made_options()):
        if entry.component.kind == "loss":
            with torch_seed(0, "loss"):
                inner = options.build(LossContext(trial.classes, trial.dim))
            expect(
                not isinstance(inner, RegularisedLoss),
                f"{entry}, the option {path}, has regularisers(), and the loss that holds it has none, so "
                "they are lost; define regularisers(embeddings) that returns those of the inner loss",
            )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {"loss": (regularisers_are_finite_scalars,)}

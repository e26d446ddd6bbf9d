"""Checks of samplers and distillers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mlbench.contracts import CentresShape, RowSampler
from mlbench.errors import MlbenchError
from mlbench.seeding import torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.finite import expect_finite

__all__ = ["CENTRES", "CHECKS", "Cosines", "distiller_widths"]

#: Context of the samplers under test.
CENTRES = {
    "num_classes": 20,
    "dim": 8,
    "centres_per_class": 1,
    "batch_size": 4,
    "batch_labels": 4,
    "seed": 0,
}


class Cosines:
    """A loss with class centres: the scaled cosine of the nearest centre."""

    per_example = True

    def __init__(self, centres_per_class: int) -> None:
        self.centres_per_class = centres_per_class

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return 16 * cosines.amax(2)


def _sampler(subject: Subject, drawn: int = 0, **arguments: int) -> Any:
    with torch_seed(drawn, "centres"):
        return subject.build(**{**CENTRES, **arguments})


def _step(subject: Subject, sampler: Any, centres_per_class: int = 1) -> tuple[float, torch.Tensor]:
    """One training step: the loss of a batch and the gradient of its embeddings."""
    values = {**CENTRES, **subject.arguments}
    size = (values["batch_size"], values["dim"])
    embeddings = torch.randn(size, generator=torch_generator(0, "embeddings")).requires_grad_()
    labels = torch.arange(values["batch_size"]) % values["batch_labels"]
    loss = sampler(embeddings, labels, Cosines(centres_per_class))
    expect(
        loss.ndim == 0 and torch.isfinite(loss),
        f"the sampler returns {loss.detach()}; return the cross entropy of the logits, a finite scalar",
    )
    loss.backward()
    gradient = embeddings.grad
    expect(
        gradient is not None and torch.isfinite(gradient).all(),
        "the embeddings have no finite gradient; compute the cosines from them without detach(), and clamp "
        "lengths before the division",
    )
    assert gradient is not None
    if isinstance(sampler, RowSampler):
        expect(
            sampler.stand_in.grad is not None,
            "stand_in has no gradient after the backward pass; set it to the norm of the centres' gradient",
        )
        sampler.update(0.1, 0.0)
    else:
        for parameter in sampler.parameters():
            if parameter.grad is not None:
                expect(
                    torch.isfinite(parameter.grad).all(),
                    "the gradient of the centres is not finite; clamp their lengths before the division",
                )
                parameter.data -= 0.1 * parameter.grad
    return float(loss.detach()), gradient


def centres_learn(subject: Subject) -> None:
    for count in (1, 2):
        sampler = _sampler(subject, centres_per_class=count)
        before = copy.deepcopy(dict(sampler.state_dict()))
        _step(subject, sampler, count)
        after = sampler.state_dict()
        changed = any(not torch.equal(before[name], after[name]) for name in before)
        expect(
            changed,
            "a step of training changes nothing in state_dict(); keep the centres as a Parameter with a "
            "gradient, or as a buffer that update() changes",
        )


def centres_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(**CENTRES)
    if shape is None:
        return
    expect(isinstance(shape, CentresShape), f"predict returns {shape!r}; return a CentresShape or None")
    count = sum(parameter.numel() for parameter in _sampler(subject).parameters())
    expect(
        shape.parameters == count,
        f"predict returns {shape.parameters} parameters; build makes {count}; correct predict",
    )


def centres_can_be_stored(subject: Subject) -> None:
    first, second = _sampler(subject), _sampler(subject, drawn=1)
    _step(subject, first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    results = [_step(subject, sampler) for sampler in (first, second)]
    same = results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    expect(
        same,
        "after load_state_dict, training does not continue with the same results; keep everything that a "
        "step depends on (counters, generators, the optimiser's state) in state_dict()",
    )


def same_seed_gives_the_same_steps(subject: Subject) -> None:
    losses = []
    for _ in range(2):
        sampler = _sampler(subject)
        losses.append([_step(subject, sampler)[0] for _ in range(3)])
    expect(
        losses[0] == losses[1],
        "the same seed gives steps with other losses; draw from a generator with context.seed, so that steps "
        "have equal losses",
    )


def distiller_widths(subject: Subject) -> list[dict[str, int]]:
    """Contexts to check a distiller with: equal widths and unequal ones."""
    every = [{"dim": 8, "teacher_dim": width} | subject.arguments for width in (8, 6)]
    return every[:1] if every[0] == every[1] else every


def _distances(subject: Subject) -> list[tuple[Any, torch.Tensor, torch.Tensor]]:
    """Distillers for equal and for unequal widths, unless they refuse them, with vectors of both widths."""
    made = []
    for widths in distiller_widths(subject):
        with torch_seed(0, "distiller"):
            distiller = subject.attempt(**widths)
        if not isinstance(distiller, MlbenchError):
            vectors = (
                torch.randn((5, width), generator=torch_generator(0, name)) for name, width in widths.items()
            )
            made.append((distiller, *vectors))
    expect(
        made,
        f"the distiller takes neither equal widths nor unequal ones: {distiller}; accept one of them, or "
        "pass dim and teacher_dim to checks()",
    )
    return made


def distance_has_finite_gradients(subject: Subject) -> None:
    for distiller, students, teachers in _distances(subject):
        expect(isinstance(distiller, nn.Module), f"build returns {distiller!r}; return a torch.nn.Module")
        expect(
            distiller.images in ("clean", "augmented"),
            f'`images` is {distiller.images!r}; set it to "clean" or "augmented"',
        )
        expect(distiller.weight >= 0, f"`weight` is {distiller.weight!r}; set it to a number >= 0")
        batches = [(students[:count], teachers[:count]) for count in (1, 2, 5)]
        # Equal embeddings, and embeddings equal to the teacher's: their differences have no direction.
        batches.append((students[:1].repeat(3, 1), teachers[:1].repeat(3, 1)))
        if students.shape == teachers.shape:
            batches.append((teachers, teachers))
        for own, wanted in batches:
            leaf = own.clone().requires_grad_()
            distance = distiller(leaf, wanted)
            finite = distance.ndim == 0 and torch.isfinite(distance)
            expect(
                finite,
                f"the distance of {len(own)} images is {distance.detach()}; return a finite scalar, such as "
                "the mean over the batch",
            )
            distance.backward()
            gradients = [leaf.grad, *(parameter.grad for parameter in distiller.parameters())]
            right = all(torch.isfinite(each).all() for each in gradients if each is not None)
            expect(
                right,
                f"gradients of {len(own)} images are not finite, where embeddings are equal to each other or "
                "to the teacher's or where there is one; clamp before roots, and divide by no deviation of 0",
            )


def equal_vectors_are_nearest(subject: Subject) -> None:
    for distiller, students, teachers in _distances(subject):
        if students.shape != teachers.shape or list(distiller.parameters()):
            continue
        with torch.no_grad():
            distances = distiller(teachers, teachers), distiller(students, teachers)
        expect_finite("the distance", distances)
        none, some = map(float, distances)
        expect(
            none < some and abs(none) < 1e-4,
            f"the distance of equal vectors is {none:g}; subtract what it is there, so that it is 0",
        )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "sampler": (
        centres_learn,
        centres_predict_is_what_is_built,
        centres_can_be_stored,
        same_seed_gives_the_same_steps,
    ),
    "distiller": (distance_has_finite_gradients, equal_vectors_are_nearest),
}

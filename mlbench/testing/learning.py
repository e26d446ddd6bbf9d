"""Checks of samplers, distillers and recipes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn

from mlbench.contracts import BatchesShape, CentresShape, RowSampler
from mlbench.contracts.options import Recipe
from mlbench.errors import MlbenchError
from mlbench.seeding import numpy_generator, torch_generator, torch_seed
from mlbench.testing.check import Subject, expect
from mlbench.testing.lr_factors import lr_factors_match_parameters
from mlbench.training.optimisation import check_recipe

__all__ = ["CHECKS"]

_CENTRES = {
    "num_classes": 20,
    "dim": 8,
    "centres_per_class": 1,
    "batch_size": 4,
    "batch_labels": 4,
    "seed": 0,
}


class _Cosines:
    """A loss with class centres: the scaled cosine of the nearest centre."""

    per_example = True

    def __init__(self, centres_per_class: int) -> None:
        self.centres_per_class = centres_per_class

    def logits(self, cosines: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return 16 * cosines.amax(2)


def _sampler(subject: Subject, drawn: int = 0, **arguments: int) -> Any:
    with torch_seed(drawn, "centres"):
        return subject.build(**{**_CENTRES, **arguments})


def _step(subject: Subject, sampler: Any, centres_per_class: int = 1) -> tuple[float, torch.Tensor]:
    """One training step: the loss of a batch and the gradient of its embeddings."""
    values = {**_CENTRES, **subject.arguments}
    size = (values["batch_size"], values["dim"])
    embeddings = torch.randn(size, generator=torch_generator(0, "embeddings")).requires_grad_()
    labels = torch.arange(values["batch_size"]) % values["batch_labels"]
    loss = sampler(embeddings, labels, _Cosines(centres_per_class))
    expect(loss.ndim == 0 and torch.isfinite(loss), "a sampler returns a finite scalar")
    loss.backward()
    gradient = embeddings.grad
    expect(gradient is not None and torch.isfinite(gradient).all(), "embeddings have a finite gradient")
    assert gradient is not None
    if isinstance(sampler, RowSampler):
        expect(
            sampler.stand_in.grad is not None, "the gradient of stand_in is the norm of the centres' gradient"
        )
        sampler.update(0.1, 0.0)
    else:
        for parameter in sampler.parameters():
            if parameter.grad is not None:
                expect(torch.isfinite(parameter.grad).all(), "the centres have a finite gradient")
                parameter.data -= 0.1 * parameter.grad
    return float(loss.detach()), gradient


def centres_learn(subject: Subject) -> None:
    for count in (1, 2):
        sampler = _sampler(subject, centres_per_class=count)
        before = copy.deepcopy(dict(sampler.state_dict()))
        _step(subject, sampler, count)
        after = sampler.state_dict()
        changed = any(not torch.equal(before[name], after[name]) for name in before)
        expect(changed, "a step of training changes the centres, and state_dict has them")


def centres_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(**_CENTRES)
    if shape is None:
        return
    expect(isinstance(shape, CentresShape), "predict returns a CentresShape")
    count = sum(parameter.numel() for parameter in _sampler(subject).parameters())
    expect(shape.parameters == count, f"predict returns {shape.parameters} parameters; build makes {count}")


def centres_can_be_stored(subject: Subject) -> None:
    first, second = _sampler(subject), _sampler(subject, drawn=1)
    _step(subject, first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    results = [_step(subject, sampler) for sampler in (first, second)]
    same = results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    expect(same, "training continues from state_dict with the same results")


def same_seed_gives_the_same_steps(subject: Subject) -> None:
    losses = []
    for _ in range(2):
        sampler = _sampler(subject)
        losses.append([_step(subject, sampler)[0] for _ in range(3)])
    expect(losses[0] == losses[1], "steps with the same seed have equal losses")


def centres_run_in_bfloat16(subject: Subject) -> None:
    sampler = _sampler(subject)
    with torch.autocast("cpu", torch.bfloat16):
        _step(subject, sampler)


def _distiller(subject: Subject, dim: int, teacher_dim: int) -> Any:
    with torch_seed(0, "distiller"):
        return subject.attempt(dim=dim, teacher_dim=teacher_dim)


def _distances(subject: Subject) -> list[tuple[Any, torch.Tensor, torch.Tensor]]:
    """Distillers for equal and for unequal widths, unless they refuse them, with vectors of both widths."""
    made = []
    for dim, teacher_dim in ((8, 8), (8, 6)):
        distiller = _distiller(subject, dim, teacher_dim)
        if not isinstance(distiller, MlbenchError):
            vectors = (
                torch.randn((5, width), generator=torch_generator(0, name))
                for name, width in (("student", dim), ("teacher", teacher_dim))
            )
            made.append((distiller, *vectors))
    expect(
        made, f"a distiller takes equal widths, unequal widths, or both; this one takes neither: {distiller}"
    )
    return made


def distance_has_finite_gradients(subject: Subject) -> None:
    for distiller, students, teachers in _distances(subject):
        expect(isinstance(distiller, nn.Module), "a distiller is a torch.nn.Module")
        expect(distiller.images in ("clean", "augmented"), 'images is "clean" or "augmented"')
        expect(distiller.weight >= 0, "weight is a number >= 0")
        batches = [(students[:count], teachers[:count]) for count in (1, 2, 5)]
        # Equal embeddings, and embeddings equal to the teacher's: their differences have no direction.
        batches.append((students[:1].repeat(3, 1), teachers[:1].repeat(3, 1)))
        if students.shape == teachers.shape:
            batches.append((teachers, teachers))
        for own, wanted in batches:
            leaf = own.clone().requires_grad_()
            distance = distiller(leaf, wanted)
            finite = distance.ndim == 0 and torch.isfinite(distance)
            expect(finite, f"the distance of {len(own)} images is a finite scalar")
            distance.backward()
            gradients = [leaf.grad, *(parameter.grad for parameter in distiller.parameters())]
            right = all(torch.isfinite(each).all() for each in gradients if each is not None)
            expect(right, f"gradients of {len(own)} images are finite")


def equal_vectors_are_nearest(subject: Subject) -> None:
    for distiller, students, teachers in _distances(subject):
        if students.shape != teachers.shape or list(distiller.parameters()):
            continue
        with torch.no_grad():
            none, some = float(distiller(teachers, teachers)), float(distiller(students, teachers))
        expect(none < some and abs(none) < 1e-4, f"the distance of equal vectors is 0; it is {none:g}")


def distance_runs_in_bfloat16(subject: Subject) -> None:
    for distiller, students, teachers in _distances(subject):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            distance = distiller(students.to(torch.bfloat16), teachers)
        expect(torch.isfinite(distance), "the distance is finite under bfloat16 autocast")


_LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 4))
_BATCH_SIZE = 12


def _embed() -> np.ndarray:
    vectors = numpy_generator(0, "embed").normal(size=(len(_LABELS), 8))
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _epochs(subject: Subject) -> tuple[Any, list[list[list[int]]]]:
    """A batch sampler and the batches of its first two epochs."""
    sampler = subject.build(labels=_LABELS, batch_size=_BATCH_SIZE, embed=_embed)
    return sampler, [list(sampler.batches(numpy_generator(0, "batches", epoch))) for epoch in range(2)]


def batches_are_as_many_as_len(subject: Subject) -> None:
    sampler, epochs = _epochs(subject)
    for batches in epochs:
        expect(len(batches) == len(sampler), f"len() is {len(sampler)}; an epoch has {len(batches)} batches")
        for batch in batches:
            plain = isinstance(batch, list) and all(type(index) is int for index in batch)
            expect(plain, "a batch is a list of int")
            expect(0 < len(batch) <= _BATCH_SIZE, "a batch has 1 to batch_size images")
            expect(min(batch) >= 0 and max(batch) < len(_LABELS), "indices are in [0, number of images)")


def batches_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(labels=_LABELS.tolist(), batch_size=_BATCH_SIZE, embed=None)
    if shape is None:
        return
    expect(isinstance(shape, BatchesShape), "predict returns a BatchesShape")
    sampler, epochs = _epochs(subject)
    expect(
        shape.batches == len(sampler), f"predict returns {shape.batches} batches; build makes {len(sampler)}"
    )
    most = max(len(set(_LABELS[batch])) for batches in epochs for batch in batches)
    fits = shape.labels is None or most <= shape.labels
    expect(fits, f"predict returns at most {shape.labels} labels in a batch; one has {most}")
    if shape.positives is not None and shape.negatives is not None:
        _expect_layout(shape, [_LABELS[batch] for batches in epochs for batch in batches])
    shown = {index for batch in epochs[0] for index in batch}
    right = shape.drawn is None or (0 < shape.drawn < 1) or (shape.drawn == 1 and len(shown) == len(_LABELS))
    expect(
        right, f"predict returns {shape.drawn} as the share of images in an epoch; it has {len(shown)} images"
    )


def _expect_layout(shape: BatchesShape, batches: list[np.ndarray]) -> None:
    """Check pairs and layout of batches. batches: labels of each."""
    same = [sum(count * (count - 1) // 2 for count in Counter(batch.tolist()).values()) for batch in batches]
    others = [len(batch) * (len(batch) - 1) // 2 - count for batch, count in zip(batches, same, strict=True)]
    for kind, expected, found in (("positive", shape.positives, same), ("negative", shape.negatives, others)):
        right = bool(expected) == any(found)
        expect(right, f"predict returns {expected} {kind} pairs in a batch; the batches have {found}")
    if shape.grouped is not None:
        classes, images = shape.grouped
        for batch in batches:
            runs = [len(list(run)) for _, run in groupby(batch)]
            right = runs == [images] * classes and len(set(batch)) == classes
            expect(
                right,
                f"predict returns batches of {images} images of each of {classes} classes in turn",
            )
    if shape.triplets:
        for batch in batches:
            rows = batch.reshape(-1, 3)
            right = (rows[:, 0] == rows[:, 1]).all() and (rows[:, 0] != rows[:, 2]).all()
            expect(right, "predict returns that rows are anchor, positive, negative, anchor, ...")


def same_generator_gives_the_same_batches(subject: Subject) -> None:
    expect(_epochs(subject)[1] == _epochs(subject)[1], "all randomness comes from the generator")


def recipe_is_valid(subject: Subject) -> None:
    recipe = subject.build()
    expect(isinstance(recipe, Recipe), f"build returns a Recipe, not a {type(recipe).__name__}")
    check_recipe(recipe)


CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "sampler": (
        centres_learn,
        centres_predict_is_what_is_built,
        centres_can_be_stored,
        same_seed_gives_the_same_steps,
        lr_factors_match_parameters,
        centres_run_in_bfloat16,
    ),
    "distiller": (
        distance_has_finite_gradients,
        equal_vectors_are_nearest,
        lr_factors_match_parameters,
        distance_runs_in_bfloat16,
    ),
    "batch_sampler": (
        batches_are_as_many_as_len,
        batches_predict_is_what_is_built,
        same_generator_gives_the_same_batches,
    ),
    "recipe": (recipe_is_valid,),
}

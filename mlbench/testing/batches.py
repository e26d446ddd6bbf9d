"""Checks of batch samplers and recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from itertools import groupby, islice
from pickle import UnpicklingError
from typing import Any
from unittest import SkipTest

import numpy as np
import torch

from mlbench.contracts import BatchesShape
from mlbench.contracts.options import Recipe
from mlbench.errors import MlbenchError, first_line
from mlbench.seeding import numpy_generator
from mlbench.testing.check import Subject, expect
from mlbench.testing.copying import copies
from mlbench.testing.random_state import untouched
from mlbench.training.optimisation import check_recipe

__all__ = ["CHECKS"]

_LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 4))
_BATCH_SIZE = 12

#: Batch size, and labels: odd sizes, a batch of all images, one class, a different number of images of each.
_OTHERS: tuple[tuple[int, np.ndarray], ...] = (
    (1, _LABELS),
    (3, _LABELS),
    (7, _LABELS),
    (len(_LABELS) + 1, _LABELS),
    (4, np.zeros(5, np.int64)),
    (7, np.repeat(np.arange(5), [1, 2, 3, 7, 1])),
)


def _embed() -> np.ndarray:
    return _embeddings(len(_LABELS))


def _embeddings(count: int) -> np.ndarray:
    vectors = numpy_generator(0, "embed").normal(size=(count, 8))
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _sampler(subject: Subject) -> Any:
    return subject.build(labels=_LABELS, batch_size=_BATCH_SIZE, embed=_embed)


def _epoch(sampler: Any, epoch: int = 0) -> list[list[int]]:
    """Batches of an epoch, at most one more than there should be, as `batches()` may never end. Raises
    AssertionError for a batch that is no sequence or array of indices."""
    batches = islice(sampler.batches(numpy_generator(0, "batches", epoch)), len(sampler) + 1)
    return [_indices(batch) for batch in batches]


def _indices(batch: Any) -> list[int]:
    try:
        found = np.asarray(batch)
    except ValueError:  # lists of different lengths
        found = np.empty(())
    right = found.ndim == 1 and (found.dtype.kind in "iu" or not len(found))
    what = f" of shape {found.shape} and type {found.dtype}" if found.ndim else ""
    expect(
        right,
        f"a batch is a {type(batch).__name__}{what}; yield a list of int or an integer array with one "
        "dimension, such as indices.tolist()",
    )
    indices: list[int] = found.tolist()
    return indices


def _epochs(subject: Subject) -> tuple[Any, list[list[list[int]]]]:
    """A batch sampler and the batches of its first two epochs."""
    sampler = _sampler(subject)
    return sampler, [_epoch(sampler, epoch) for epoch in range(2)]


def batches_are_as_many_as_len(subject: Subject) -> None:
    sampler, epochs = _epochs(subject)
    for batches in epochs:
        _expect_batches(sampler, batches, _BATCH_SIZE, _LABELS)


def _described(batch_size: int, labels: np.ndarray) -> str:
    return f"batches of {batch_size} of {len(labels)} images of {len(set(labels.tolist()))} classes"


def _expect_batches(sampler: Any, batches: list[list[int]], batch_size: int, labels: np.ndarray) -> None:
    what = _described(batch_size, labels)
    count = f"{len(batches)}" if len(batches) <= len(sampler) else f"more than {len(sampler)}"
    expect(
        len(batches) == len(sampler) > 0,
        f"len() is {len(sampler)}; an epoch has {count} batches ({what}); return from __len__ what "
        "batches() yields, at least 1, or raise an OptionError in build and predict",
    )
    for batch in batches:
        expect(
            0 < len(batch) <= batch_size,
            f"a batch has {len(batch)} images ({what}); yield 1 to batch_size images",
        )
        expect(
            min(batch) >= 0 and max(batch) < len(labels),
            f"a batch has the indices {min(batch)} to {max(batch)} ({what}); yield indices in [0, number of "
            "images)",
        )


def batches_of_odd_sizes(subject: Subject) -> None:
    """Batches of 1, 3 and 7 images, larger than the data set, of one class, and of classes of different
    sizes: all are right, or `build` and `predict` refuse them."""
    for batch_size, labels in _OTHERS:
        if not {"labels", "batch_size"}.isdisjoint(subject.arguments):
            return
        what = _described(batch_size, labels)
        sampler = subject.attempt(
            labels=labels, batch_size=batch_size, embed=lambda labels=labels: _embeddings(len(labels))
        )
        refused = subject.refuses(labels=labels.tolist(), batch_size=batch_size, embed=None)
        if isinstance(sampler, MlbenchError):
            predicted = refused or subject.predict(labels=labels.tolist(), batch_size=batch_size, embed=None)
            expect(
                refused or predicted is None,
                f"build refuses {what} and predict does not; raise the same OptionError in both",
            )
            continue
        expect(not refused, f"predict refuses {what} and build does not; raise the OptionError in both")
        _expect_batches(sampler, _epoch(sampler), batch_size, labels)


def batches_are_built_without_embeddings(subject: Subject) -> None:
    """`embed` is None while a run is planned and checked."""
    if "embed" in subject.arguments:
        return
    asked: dict[str, Callable[[], Any]] = {
        "build": lambda: subject.attempt(labels=_LABELS, batch_size=_BATCH_SIZE, embed=None),
        "predict": lambda: subject.predict(labels=_LABELS.tolist(), batch_size=_BATCH_SIZE, embed=None),
    }
    for name, ask in asked.items():
        try:
            found = ask()
            if isinstance(found, MlbenchError):
                raise found
        except SkipTest:
            raise
        # The component is foreign code and may raise anything.
        except Exception as error:
            raise AssertionError(
                f"{name} raises {first_line(error)} where embed is None, as it is while a run is planned and "
                "checked; keep the context, and call its embed() in batches()"
            ) from error


def batches_predict_is_what_is_built(subject: Subject) -> None:
    shape = subject.predict(labels=_LABELS.tolist(), batch_size=_BATCH_SIZE, embed=None)
    if shape is None:
        return
    expect(isinstance(shape, BatchesShape), f"predict returns {shape!r}; return a BatchesShape or None")
    sampler, epochs = _epochs(subject)
    expect(
        shape.batches == len(sampler),
        f"predict returns {shape.batches} batches; build makes {len(sampler)}; correct predict",
    )
    most = max(len(set(_LABELS[batch])) for batches in epochs for batch in batches)
    fits = shape.labels is None or most <= shape.labels
    expect(fits, f"predict returns at most {shape.labels} labels in a batch; one has {most}; correct predict")
    if shape.positives is not None and shape.negatives is not None:
        _expect_layout(shape, [_LABELS[batch] for batches in epochs for batch in batches])
    shown = {index for batch in epochs[0] for index in batch}
    right = shape.drawn is None or (0 < shape.drawn < 1) or (shape.drawn == 1 and len(shown) == len(_LABELS))
    expect(
        right,
        f"predict returns {shape.drawn} as the share of images in an epoch; it has {len(shown)} images; "
        "correct predict",
    )


def _expect_layout(shape: BatchesShape, batches: list[np.ndarray]) -> None:
    """Check pairs and layout of batches. batches: labels of each."""
    same = [sum(count * (count - 1) // 2 for count in Counter(batch.tolist()).values()) for batch in batches]
    others = [len(batch) * (len(batch) - 1) // 2 - count for batch, count in zip(batches, same, strict=True)]
    for kind, expected, found in (("positive", shape.positives, same), ("negative", shape.negatives, others)):
        right = bool(expected) == any(found)
        expect(
            right,
            f"predict returns {expected} {kind} pairs in a batch; the batches have {found}; correct predict",
        )
    if shape.grouped is not None:
        classes, images = shape.grouped
        for batch in batches:
            runs = [len(list(run)) for _, run in groupby(batch)]
            right = runs == [images] * classes and len(set(batch)) == classes
            expect(
                right,
                f"predict returns batches of {images} images of each of {classes} classes in turn and a "
                "batch is not so; order the batches so, or set BatchesShape.grouped to None",
            )
    if shape.triplets:
        for batch in batches:
            rows = batch.reshape(-1, 3)
            right = (rows[:, 0] == rows[:, 1]).all() and (rows[:, 0] != rows[:, 2]).all()
            expect(
                right,
                "predict returns that rows are anchor, positive, negative, anchor, ... and a batch is not "
                "so; order the batches so, or set BatchesShape.triplets to False",
            )


def same_generator_gives_the_same_batches(subject: Subject) -> None:
    expect(
        _epochs(subject)[1] == _epochs(subject)[1],
        "the same generator gives other batches; draw everything from the generator that batches() gets",
    )


def _stored(state: Any) -> Any:
    """A state as it comes back from the file of an unfinished training."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except UnpicklingError as error:
        raise AssertionError(
            f"state_dict() cannot be read back ({first_line(error)}); return numbers, texts, lists, "
            "mappings and tensors alone"
        ) from None


def interrupted_sampler_goes_on(subject: Subject) -> None:
    """A second sampler, with the state of the first after an epoch, yields what the first does."""
    first, second = _sampler(subject), _sampler(subject)
    _epoch(first)
    stateful = hasattr(first, "state_dict")
    if stateful:
        stored = _stored(first.state_dict())
        second.load_state_dict(stored)
    expect(
        _epoch(second, 1) == _epoch(first, 1),
        "a new sampler goes on with other batches than the one before an interruption; "
        + (
            "keep all that later epochs depend on in state_dict()"
            if stateful
            else "add state_dict() and load_state_dict() for what later epochs depend on, or keep nothing"
        ),
    )


def batches_keep_global_generators(subject: Subject) -> None:
    with untouched("build()", "draw in batches(), from its generator"):
        sampler = _sampler(subject)
    with untouched("batches()", "draw from the generator that it gets"):
        _epoch(sampler)


def batch_sampler_can_be_pickled(subject: Subject) -> None:
    sampler = _sampler(subject)
    batches = _epoch(sampler)
    for how, other in copies(_sampler(subject), "the batch sampler").items():
        expect(
            _epoch(other) == batches,
            f"{how} of the batch sampler gives other batches; keep all of its state in its attributes",
        )


def recipe_is_valid(subject: Subject) -> None:
    recipe = subject.build()
    expect(
        isinstance(recipe, Recipe), f"build returns a {type(recipe).__name__}; return a Recipe, mostly self"
    )
    check_recipe(recipe)


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = {
    "batch_sampler": (
        batches_are_as_many_as_len,
        batches_of_odd_sizes,
        batches_are_built_without_embeddings,
        batches_predict_is_what_is_built,
        same_generator_gives_the_same_batches,
        batches_keep_global_generators,
        batch_sampler_can_be_pickled,
        interrupted_sampler_goes_on,
    ),
    "recipe": (recipe_is_valid,),
}

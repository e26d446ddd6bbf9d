"""Check that batches contain the pairs that losses need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from mlbench.contracts import BatchesShape, LossShape, Need
from mlbench.errors import SuiteError, hint
from mlbench.planning.spec import Part

__all__ = ["Batches", "check_batches"]

#: For each kind of pair: its description, and how to get more of them.
_PAIRS: dict[Need, tuple[str, str]] = {
    "positives": ("two images of one class", "choose one that draws several of each, such as m_per_class"),
    "negatives": ("images of two classes", "let it draw more classes, or raise recipe.batch_size"),
}


@dataclass(frozen=True)
class Batches:
    """The batches of a case. sampler: the batch sampler; size: images per batch; steps: batches in the
    run."""

    sampler: Part
    shape: BatchesShape
    size: int
    steps: int

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.sampler.options.items())
        return f"{self.sampler.entry}{f' ({options})' if options else ''} with batch_size {self.size}"


def check_batches(batches: Batches, losses: Iterable[tuple[Part, LossShape | None]]) -> tuple[str, ...]:
    """Notes on losses for which some batches lack pairs, one line each.

    Raises SuiteError for a loss that would learn nothing from any batch of the run.
    """
    notes = []
    for part, shape in losses:
        for need in shape.needs if shape is not None else ():
            if need not in get_args(Need):
                mistake = part.misstatement(f"it needs {need!r} in a batch ({hint(need, get_args(Need))})")
                raise SuiteError(f"{part.where()}: {mistake}")
            if (found := _expected(batches.shape, need)) is None:
                continue
            if need not in _PAIRS:
                if not found:
                    raise SuiteError(f"{part.where()}: {_wrong_layout(batches, part, need)}")
                continue
            what, remedy = _PAIRS[need]
            if found * batches.steps < 1:
                raise SuiteError(
                    f"{batches.sampler.where()}: {batches} makes batches without {what}, from which "
                    f"{part.entry} ({part.where()}) learns nothing; {remedy}"
                )
            if found < 1:
                notes.append(
                    f"{batches} makes batches with {found:.2g} pairs of {what} on average; from the others "
                    f"{part.entry} learns little or nothing: {remedy}"
                )
    return tuple(notes)


def _expected(shape: BatchesShape, need: Need) -> float | None:
    """Expected number of the needed pairs in a batch, or whether it has the needed layout; None if
    unknown."""
    if shape.positives is None or shape.negatives is None:
        return None
    if need == "square":
        return shape.grouped is not None and shape.grouped[0] == shape.grouped[1]
    return {"positives": shape.positives, "negatives": shape.negatives, "triplets": shape.triplets}[need]


def _wrong_layout(batches: Batches, loss: Part, need: Need) -> str:
    """The message for a sampler whose batches are not in the order that a loss takes."""
    where = f"{batches} ({batches.sampler.where()})"
    if need == "triplets":
        return (
            f"{loss.entry} takes batches of anchor, positive, negative, anchor, ..., which {where} does not "
            "make; choose a batch sampler that does, such as hard_triplets, or other triplets of the loss"
        )
    return (
        f"{loss.entry} takes batches with as many images of each class as classes, side by side, which "
        f"{where} does not make; choose m_per_class with batch_size m * m"
    )

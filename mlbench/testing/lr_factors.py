"""The check of the learning rates that a component states."""

from __future__ import annotations

from collections.abc import Callable

from mlbench.contracts.options import TrainedOptions
from mlbench.errors import ComponentError
from mlbench.planning.spec import Part
from mlbench.testing.check import Subject, expect
from mlbench.testing.usage import usages
from mlbench.training.lr_factors import own_factors

__all__ = ["CHECKS"]


def lr_factors_match_parameters(subject: Subject) -> None:
    """Patterns of `lr_factors` match names of parameters, and their factors are above 0; those of a component
    that is an option are stated by the one that holds it."""
    part = Part(subject.entry, subject.options, str)
    if subject.missing():
        return
    try:
        stated = part.lr_factors()
        for usage in usages(subject) if stated else ():
            own_factors(part, usage.part)
    except ComponentError as error:
        expect(False, f"{error}; correct lr_factors()")
    for path, inner in part.inner.items():
        factors = inner.lr_factors() if isinstance(inner.component, TrainedOptions) else {}
        expect(
            stated or not factors,
            f"{inner.entry}, the option {path}, states lr_factors() {dict(factors)}, which mlbench asks of "
            "the outer component alone; return them from its lr_factors(), with the names that its "
            "parameters have there",
        )


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = dict.fromkeys(
    ("backbone", "neck", "loss", "sampler", "distiller"), (lr_factors_match_parameters,)
)

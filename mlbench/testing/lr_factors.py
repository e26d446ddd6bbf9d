"""The check of the learning rates that a component states."""

from __future__ import annotations

from collections.abc import Callable

from mlbench.errors import ComponentError
from mlbench.planning.spec import Part
from mlbench.testing.check import Subject, expect
from mlbench.testing.usage import usages
from mlbench.training.lr_factors import own_factors

__all__ = ["CHECKS"]


def lr_factors_match_parameters(subject: Subject) -> None:
    """Patterns of `lr_factors` match names of parameters, and their factors are above 0."""
    part = Part(subject.entry, subject.options, str)
    try:
        if not subject.missing() and part.lr_factors():
            for usage in usages(subject):
                own_factors(part, usage.part)
    except ComponentError as error:
        expect(False, f"{error}; correct lr_factors()")


CHECKS: dict[str, tuple[Callable[[Subject], object], ...]] = dict.fromkeys(
    ("backbone", "neck", "loss", "sampler", "distiller"), (lr_factors_match_parameters,)
)

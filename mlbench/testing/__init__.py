"""Conformance checks for authors of plugins: does a component meet the contract of its kind?

    @pytest.mark.parametrize("check", list(checks(COMPONENT, margin=0.3)), ids=str)
    def test_component(check):
        check()

Checks are plain callables. A failed check raises AssertionError with the requirement that is not met; a check
that cannot run raises unittest.SkipTest, which pytest and unittest understand. `python -m
mlbench.testing` prints a small suite with a case for every installed component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, hint
from mlbench.testing.catalogue import catalogue_suite, example_options
from mlbench.testing.check import Check, Subject
from mlbench.testing.component import CHECKS, imports_nothing_heavy

__all__ = ["Check", "catalogue_suite", "checks", "example_options", "imports_nothing_heavy"]

#: Module with the checks of each kind. These modules import torch.
_MODULES = {
    "dataset": "images",
    "augmentation": "images",
    "mixing": "images",
    "backbone": "network",
    "neck": "network",
    "loss": "loss",
    "sampler": "learning",
    "distiller": "learning",
    "batch_sampler": "learning",
    "recipe": "learning",
    "metric": "evaluation",
    "threshold": "evaluation",
    "claim": "claims",
}


def checks(component: Component, **given: Any) -> Iterator[Check]:
    """Yield the checks of a component: those of every kind first, then those of its kind.

    given: options that replace the defaults, and arguments of `build` that replace the small values of the
    checks: image_size for an augmentation or a backbone (image_size=96 for a backbone that needs it),
    features for a neck, and the fields of the context where `build` takes one (LossContext for a loss).
    Raises ComponentError for an unknown kind.
    """
    if component.kind not in KINDS:
        raise ComponentError(f"unknown kind {component.kind!r} ({hint(component.kind, KINDS)})")
    subject = Subject(component, given)
    kind: tuple[Callable[[Subject], None], ...] = import_module(
        f"mlbench.testing.{_MODULES[component.kind]}"
    ).CHECKS[component.kind]
    for function in (*CHECKS, *kind):
        yield Check(subject, function)

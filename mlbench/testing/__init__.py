"""For authors of plugins: does a component keep what its kind promises?

    @pytest.mark.parametrize("check", list(checks(COMPONENT, margin=0.3)), ids=str)
    def test_component(check):
        check()

Checks are plain callables. One that fails raises AssertionError and says what the contract asks; one that
cannot be done here raises unittest.SkipTest, which pytest and unittest understand. `python -m
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

#: Where the checks of each kind are. These modules import torch.
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
}


def checks(component: Component, **given: Any) -> Iterator[Check]:
    """The checks of a component, the general ones first.

    given: options that it shall have instead of its defaults; and, by the names in `KINDS`, values that it
    shall be provided instead of the small ones that checks use (image_size=96 for a backbone that needs it).
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

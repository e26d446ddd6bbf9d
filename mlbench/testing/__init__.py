"""Conformance checks for authors of plugins: does a component meet the contract of its kind?

    @pytest.mark.parametrize("check", list(checks(COMPONENT, margin=0.3)), ids=str)
    def test_component(check):
        check()

Checks are plain callables. A failed check raises AssertionError with what to change; a check that cannot run
raises unittest.SkipTest, which pytest and unittest understand. `python -m mlbench.testing NAME` runs the
checks of installed components from the shell, and `python -m mlbench.testing` prints a small suite with a
case for every installed component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from mlbench.contracts import KINDS, Component
from mlbench.errors import ComponentError, hint
from mlbench.plugins import Plugin
from mlbench.registry import Entry
from mlbench.testing.catalogue import catalogue_suite, example_options
from mlbench.testing.check import Check, ExpectedFailure, Outcome, Subject
from mlbench.testing.component import CHECKS
from mlbench.testing.importing import imports_nothing_heavy

__all__ = [
    "Check",
    "ExpectedFailure",
    "Outcome",
    "catalogue_suite",
    "checks",
    "example_options",
    "imports_nothing_heavy",
]

#: Modules with checks by kind. They import torch.
_MODULES = (
    *("datasets", "images", "network", "neck", "loss", "learning", "batches", "evaluation", "claims"),
    *("trackers", "sections"),
    *("regularisers", "calls", "lr_factors", "gathering"),
)


def checks(
    component: Component, *, expected_failures: Mapping[str, str] | None = None, **given: Any
) -> Iterator[Check]:
    """The checks of a component: those of every kind first, then those of its kind.

    given: options that replace the defaults, and arguments of `build` that replace the small values of the
    checks: image_size for an augmentation or a backbone (image_size=96 for a backbone that needs it),
    features for a neck, and the fields of the context where `build` takes one (LossContext for a loss).
    expected_failures: names of checks that the component fails, each with the reason. Such a check raises
    ExpectedFailure, which pytest shows as skipped; once it passes, it fails and says to remove the entry.

    Raises ComponentError for an unknown kind, and for an unknown check or an empty reason among
    `expected_failures`.
    """
    if not isinstance(component, Component):
        raise ComponentError(f"checks() got {component!r}; pass a Component, as mlbench_components returns")
    entry = Entry(component, Plugin("under test", component.options, "unregistered", "0"))
    return checks_of(entry, given, expected_failures or {})


def checks_of(
    entry: Entry, given: Mapping[str, Any], expected_failures: Mapping[str, str]
) -> Iterator[Check]:
    """As `checks`, of a component whose plugin is known."""
    component = entry.component
    if component.kind not in KINDS:
        raise ComponentError(f"unknown kind {component.kind!r} ({hint(str(component.kind), KINDS)})")
    functions = _functions(component.kind)
    expected = dict(expected_failures)
    for name, reason in expected.items():
        if name not in functions:
            raise ComponentError(
                f"expected_failures: the kind {component.kind} has no check {name!r} "
                f"({hint(name, functions)})"
            )
        if not (isinstance(reason, str) and reason.strip()):
            raise ComponentError(f"expected_failures: {name} has no reason; write why the component fails it")
    subject = Subject(entry, given)
    return iter([Check(subject, each, expected.get(name, "")) for name, each in functions.items()])


def _functions(kind: str) -> dict[str, Callable[[Subject], object]]:
    """The checks of a kind by name."""
    modules = [import_module(f"mlbench.testing.{name}") for name in _MODULES]
    functions = [*CHECKS, *(each for module in modules for each in module.CHECKS.get(kind, ()))]
    return {each.__name__: each for each in functions}

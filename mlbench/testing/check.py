"""A check of one requirement of the contract on one component.

A message of a failure has two parts: what the component does, and what to change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from inspect import signature
from typing import Any, Literal, NamedTuple
from unittest import SkipTest

from mlbench.contracts import KINDS, Component
from mlbench.contracts.options import (
    BASES,
    BatchContext,
    DatasetContext,
    DistillerContext,
    LossContext,
    SamplerContext,
    TrackerContext,
)
from mlbench.errors import DataError, MlbenchError, OptionError, WeightsError, first_line
from mlbench.page.context import PageContext
from mlbench.places import place_in_package
from mlbench.registry import Entry

__all__ = ["Check", "ExpectedFailure", "Outcome", "Subject", "expect"]

#: Context class by kind, for kinds whose `build` takes a context.
_CONTEXTS: Mapping[str, Any] = {
    "batch_sampler": BatchContext,
    "dataset": DatasetContext,
    "distiller": DistillerContext,
    "loss": LossContext,
    "sampler": SamplerContext,
    "tracker": TrackerContext,
    "section": PageContext,
}


def _arguments(kind: str) -> tuple[str, ...]:
    """Arguments of `build`; for a context, its fields. None for a kind without `build`."""
    if kind in _CONTEXTS:
        return tuple(field.name for field in fields(_CONTEXTS[kind]))
    build = getattr(BASES[kind], "build", None)
    return tuple(signature(build).parameters)[1:] if build else ()  # without self


#: Checks that need no options, so that they run where the options cannot be made.
_IMPORTS = "module_imports_lightly"
_NEED_NO_OPTIONS = ("summary_is_one_line", "source_is_a_paper_or_an_address", _IMPORTS)


class ExpectedFailure(SkipTest):
    """A check fails as its entry in `expected_failures` says; pytest and unittest show it as skipped."""


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds, under `python -O` too.

    message: what the component does, and what to change.
    """
    if not condition:
        raise AssertionError(message)


class Subject:
    """The component under test, with its options and arguments of `build`.

    given: options, and arguments of `build` that replace the small values of the checks.
    """

    def __init__(self, entry: Entry, given: Mapping[str, Any]) -> None:
        self.component: Component = entry.component
        self.entry = entry
        arguments = _arguments(self.component.kind)
        self.options = dict(given)
        self.arguments: dict[str, Any] = {}
        if given.keys() & set(arguments):  # an option of the component comes before an argument of that name
            options = self.entry.options_class.model_fields
            self.arguments = {
                name: given[name] for name in arguments if name in given and name not in options
            }
            self.options = {name: each for name, each in given.items() if name not in self.arguments}

    def __str__(self) -> str:
        return f"{self.component.kind}-{self.component.name}"

    def missing(self) -> list[str]:
        """Required options without a value."""
        return [
            each.name for each in self.entry.options if each.default is None and each.name not in self.options
        ]

    def build(self, **arguments: Any) -> Any:
        """The built component. Raises SkipTest if a required option or a file is missing, AssertionError if
        the component raises an MlbenchError."""
        built = self.attempt(**arguments)
        expect(
            not isinstance(built, MlbenchError),
            f"{self} cannot be built for its checks: {built}; pass checks() other options or other "
            f"arguments of build ({', '.join(_arguments(self.component.kind))})",
        )
        return built

    def attempt(self, **arguments: Any) -> Any:
        """The built component, or the MlbenchError that it raises. Raises AssertionError for None."""
        try:
            built = self.made_options().build(*self._complete(arguments))
        except (DataError, WeightsError) as error:
            raise SkipTest(f"{self} needs files: {error}") from None
        except MlbenchError as error:
            return error
        expect(built is not None, f"build returns None; return {KINDS[self.component.kind].built}")
        return built

    def predict(self, **arguments: Any) -> Any:
        """The component's prediction; None if it makes none."""
        return self.made_options().predict(*self._complete(arguments))

    def quantities(self) -> Any:
        """Quantities that a metric announces."""
        return self.made_options().quantities()

    def claim(self) -> Any:
        """A claim, which is its options. Raises SkipTest as `build`."""
        return self.made_options()

    def made_options(self) -> Any:
        """The options. Raises SkipTest if a required one is missing, OptionError for a wrong one."""
        if missing := self.missing():
            raise SkipTest(
                f"{self} needs the options {', '.join(missing)}; pass them to checks(), or with --set"
            )
        return self.entry.make(self.options)

    @cached_property
    def fault(self) -> BaseException | None:
        """What making the options raises; None if it succeeds or required ones are missing."""
        try:
            self.made_options()
        except SkipTest:
            return None
        # The component is foreign code and may raise anything.
        except (Exception, SystemExit) as error:
            return error
        return None

    @property
    def reporter(self) -> str:
        """The check that fails because of `fault`, so that it is reported once."""
        is_imported = self.component.options.partition(":")[0] in sys.modules
        return "defaults_are_valid" if is_imported else _IMPORTS

    def _complete(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Positional arguments of `build` and `predict`: these, or the author's own."""
        values = {**arguments, **self.arguments}
        if (context := _CONTEXTS.get(self.component.kind)) is not None:
            return [context(**values)]
        return [values[name] for name in _arguments(self.component.kind)]

    def refuses(self, **arguments: Any) -> bool:
        """Whether `predict` raises an OptionError."""
        try:
            self.predict(**arguments)
        except OptionError:
            return True
        return False


class Outcome(NamedTuple):
    """What a check found. message: what to change, why it was skipped, or why the failure is expected; for a
    check that passed, what it measured, mostly nothing."""

    state: Literal["passed", "failed", "skipped", "expected failure"]
    message: str


@dataclass(frozen=True)
class Check:
    """A callable that returns if the component passes, else raises AssertionError or unittest.SkipTest.

    function: the check; it may return a text for those who read the outcome. expected: why the component may
    fail it; empty where it must pass."""

    subject: Subject
    function: Callable[[Subject], object]
    expected: str = ""

    @property
    def name(self) -> str:
        return self.function.__name__

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"

    def __call__(self) -> None:
        """Raises AssertionError for a failure, also where the component raised something else, and for a
        check that passes in spite of `expected`. Raises SkipTest where the check cannot run, and
        ExpectedFailure, a SkipTest, for an expected failure."""
        self._run()

    def outcome(self) -> Outcome:
        """The same as a value."""
        try:
            return Outcome("passed", self._run())
        except ExpectedFailure as error:
            return Outcome("expected failure", str(error))
        except SkipTest as error:
            return Outcome("skipped", str(error))
        except AssertionError as error:
            return Outcome("failed", str(error))

    def _run(self) -> str:
        subject = self.subject
        try:
            if self.name not in _NEED_NO_OPTIONS and subject.fault and self.name != subject.reporter:
                raise SkipTest(f"{subject} needs options that load; see {subject.reporter}")
            found = self.function(subject)
            if subject.fault and self.name == subject.reporter:
                raise subject.fault
        except SkipTest:
            raise
        # The component is foreign code and may raise anything.
        except (Exception, SystemExit) as error:
            message = str(error) if isinstance(error, AssertionError) else self._raised(error)
            if self.expected:
                raise ExpectedFailure(f"{self.expected} ({message})") from None
            if isinstance(error, AssertionError):
                raise
            raise AssertionError(message) from error
        expect(
            not self.expected,
            f"{self.name} passes; remove it from expected_failures, where the reason is {self.expected!r}",
        )
        return str(found or "")

    def _raised(self, error: BaseException) -> str:
        """The message for an error of the component that no check expects."""
        if isinstance(error, MlbenchError):
            other = ", or pass checks() other options" if isinstance(error, OptionError) else ""
            return f"{error}; correct this{other}"
        module = self.subject.component.options.partition(":")[0]
        place = place_in_package(error, module)
        words = self.name.replace("_", " ")
        if place is None:  # what the component returned is at fault, not the file that used it
            kind = self.subject.component.kind
            return (
                f"the check {words!r} raises {first_line(error)} with what the component returns; return "
                f"{KINDS[kind].built} from build (`mlbench show {kind}` has the whole contract)"
            )
        return (
            f"{first_line(error)}; raised in {place.short}; change it so that the check {words!r} can call it"
        )

"""A check of one requirement of the contract on one component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from unittest import SkipTest

from mlbench.contracts import KINDS, Component
from mlbench.contracts.options import (
    BatchContext,
    DatasetContext,
    DistillerContext,
    LossContext,
    SamplerContext,
)
from mlbench.errors import DataError, MlbenchError, OptionError, WeightsError
from mlbench.plugins import Plugin
from mlbench.registry import Entry

__all__ = ["Check", "Subject", "expect"]

#: Context class by kind, for kinds whose `build` takes a context.
_CONTEXTS: Mapping[str, Any] = {
    "batch_sampler": BatchContext,
    "dataset": DatasetContext,
    "distiller": DistillerContext,
    "loss": LossContext,
    "sampler": SamplerContext,
}
#: Arguments of `build` by kind; for a context, its fields.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(KINDS, ()),
    **{kind: tuple(field.name for field in fields(context)) for kind, context in _CONTEXTS.items()},
    "augmentation": ("image_size",),
    "backbone": ("image_size",),
    "neck": ("features",),
}


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds, under `python -O` too."""
    if not condition:
        raise AssertionError(message)


class Subject:
    """The component under test, with its options and arguments of `build`.

    given: options, and arguments of `build` that replace the small values of the checks.
    """

    def __init__(self, component: Component, given: Mapping[str, Any]) -> None:
        arguments = _ARGUMENTS[component.kind]
        self.component = component
        self.entry = Entry(component, Plugin("under test", component.options, "unregistered", "0"))
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
            f"arguments of build ({', '.join(_ARGUMENTS[self.component.kind])})",
        )
        return built

    def attempt(self, **arguments: Any) -> Any:
        """The built component, or the MlbenchError that it raises."""
        if missing := self.missing():
            raise SkipTest(f"{self} needs the options {', '.join(missing)}; pass them to checks()")
        try:
            return self._options().build(*self._complete(arguments))
        except (DataError, WeightsError) as error:
            raise SkipTest(f"{self} needs files: {error}") from None
        except MlbenchError as error:
            return error

    def predict(self, **arguments: Any) -> Any:
        """The component's prediction; None if it makes none."""
        return self._options().predict(*self._complete(arguments))

    def quantities(self) -> Any:
        """Quantities that a metric announces."""
        return self._options().quantities()

    def claim(self) -> Any:
        """A claim, which is its options. Raises SkipTest as `build`."""
        if missing := self.missing():
            raise SkipTest(f"{self} needs the options {', '.join(missing)}; pass them to checks()")
        return self._options()

    def _options(self) -> Any:
        return self.entry.make(self.options)

    def _complete(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Positional arguments of `build` and `predict`: these, or the author's own."""
        values = {**arguments, **self.arguments}
        if (context := _CONTEXTS.get(self.component.kind)) is not None:
            return [context(**values)]
        return [values[name] for name in _ARGUMENTS[self.component.kind]]

    def refuses(self, **arguments: Any) -> bool:
        """Whether `predict` raises an OptionError."""
        try:
            self.predict(**arguments)
        except OptionError:
            return True
        return False


@dataclass(frozen=True)
class Check:
    """A callable that returns if the component passes, else raises AssertionError or unittest.SkipTest."""

    subject: Subject
    function: Callable[[Subject], None]

    @property
    def name(self) -> str:
        return self.function.__name__

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"

    def __call__(self) -> None:
        self.function(self.subject)
